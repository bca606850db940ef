//! `transform`: a spout that drives itself. It decides what belongs into a commit and when one is made; the pipeline makes it.
//!
//! [`Commits`](commits::Commits) are the spout's own: files of one go straight into the open commit of the output repo, its rows
//! through handlers and consumers as those of any source, and all of it is cut as one commit of the pipeline. So there is no
//! other way to commit, and none to publish, to count, or to be fenced.
//!
//! There is one partition, 0. Its offset counts the commits of the spout; the token of its position is the marker.

mod command;
mod commits;
mod datums;
mod fetcher;
mod guest_commit;
mod plugin;
mod producer;
mod supervise;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_plugin::{PluginRef, Settings, World};
use tokio_util::sync::CancellationToken;

pub use self::datums::{InputSpec, OnFailedFile, PerFileError, PerFileSpec};
use self::{
    command::{Invocation, Place, SandboxedCommand, TrustedCommand},
    commits::Commits,
    plugin::PluginSpout,
    producer::{Make, SpoutProducer},
};
use crate::{
    Class, Error, Guarantee, MetadataColumn, Peek, Producer, Promise, SourceContext, SourcePlugin, SourceSpec,
};

/// A spout that drives itself, as in `{plugin: my-spout, settings: {topic: orders}}`. It stands in a spec instead of a `producer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransformSpec {
    /// Name of the plugin, `my-spout`, or of one of its spouts, `feeds/orders`; `my-spout@sha256:…` pins its digest too. A plugin
    /// that is a plain command of WASI writes tar archives, each of which is a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Settings of a plugin that is no plain command; `spout plugin inspect NAME` lists them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: Settings,
    /// Instead of a plugin: a program of this machine with its arguments, which writes tar archives. It is not sandboxed, so it
    /// runs only if it is `trusted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Whether the program of `cmd` may do everything that this process may.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trusted: bool,
    /// Arguments of a command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables, as in `{HOST: kafka, PORT: "9092"}`; those of `grants` come on top.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// In Pachyderm, what `cmd` runs in: the plugin that is named after it stands for it, as `feed` for `me/feed:1.2`, and what
    /// follows the name of the command are its arguments, if it is a command. A `trusted` program needs no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Lines that a command reads on standard input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stdin: Vec<String>,
    /// Where a command writes its archives.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: CommandOutput,
}

/// Where a command writes its archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandOutput {
    /// To `/pfs/out`, or the path in PFS_OUT; what is on standard output goes to the log.
    #[default]
    Pfs,
    /// To its standard output.
    Stdout,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What to do when a spout has ended by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// The pipeline is over.
    #[default]
    End,
    /// It is run again, after a pause that grows while it commits nothing.
    Restart,
}

/// What runs: one spout, to its end.
#[async_trait]
trait Spout: Debug + Send + Sync {
    /// Runs it from the marker of `commits` until it ends, or does so soon after `drained` gives the order to stop.
    async fn run(&self, commits: &Commits, drained: &CancellationToken) -> Result<(), Failed>;

    /// Whether it waits because it has nothing for now.
    fn resting(&self) -> bool;
}

/// Why a spout did not end by itself.
#[derive(Debug)]
struct Failed {
    why: Error,
    /// What is to be done about it, if the pipeline is not to stop.
    again: Again,
}

/// Whether a spout that failed is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// After this long, or after a pause that grows: what it reads from is not there now.
    Later(Option<std::time::Duration>),
    /// A few times: it crashed.
    Crashed,
    /// No.
    Never,
}

impl TransformSpec {
    /// The same with a plugin in the place of an image.
    #[must_use]
    pub fn without_image(mut self) -> Self {
        if let (Some(image), None, false) = (&self.image, &self.plugin, self.trusted) {
            let last = image.rsplit('/').next().unwrap_or(image);
            self.plugin = Some(last.split(['@', ':']).next().unwrap_or(last).to_owned());
            self.args = std::mem::take(&mut self.cmd).into_iter().skip(1).chain(self.args).collect();
        }
        self
    }

    /// What it is called.
    fn label(&self) -> String {
        match &self.plugin {
            Some(plugin) => PluginRef::parse(plugin).label.to_owned(),
            None => self.cmd.join(" "),
        }
    }

    /// Whether it says something that only a command can mean.
    fn speaks_of_a_command(&self) -> bool {
        self.image.is_none() && !(self.args.is_empty() && self.stdin.is_empty() && is_default(&self.output))
    }

    fn invocation(&self, args: &[String]) -> Invocation {
        Invocation {
            label: self.label(),
            args: args.iter().chain(&self.args).cloned().collect(),
            env: self.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            stdin: self.stdin.clone(),
            standard: self.output == CommandOutput::Stdout,
        }
    }
}

impl SourceSpec for TransformSpec {
    fn reach(&self) -> Option<Reach> {
        (!self.cmd.is_empty()).then_some(Reach::Commands)
    }

    fn reads(&self) -> String {
        let label = self.label();
        match &self.plugin {
            Some(_) => format!("the spout {label}, which makes its own commits, from the marker of the last"),
            None => format!(
                "tar archives of the command {label}, each a commit. IT IS NOT SANDBOXED: it can do whatever this process can, \
                 because the spec says `trusted: true`"
            ),
        }
    }

    fn peek(&self) -> Peek {
        Peek::Impossible(
            "it makes commits of its own; `spout plugin test --spec SPEC` runs it on stores that are gone afterwards"
                .into(),
        )
    }

    fn promise(&self) -> Promise {
        let but = match self.plugin {
            Some(_) => "if the plugin continues from its marker, which is committed with its data",
            None => "if the command continues from its marker, which is committed with its data",
        };
        Promise { class: Class::SelfDriven, guarantee: Some(Guarantee::ExactlyOnce), but }
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let problem = |key, what: &str| Some((key, what.to_owned()));
        match (&self.plugin, self.cmd.as_slice()) {
            (Some(_), [_, ..]) => problem("cmd", "a transform is a `plugin` or a `cmd`; remove one of them"),
            (None, []) => problem("plugin", "a transform needs the name of a `plugin`, or a `cmd`"),
            (None, [program, ..]) if program.is_empty() => problem("cmd", "the first word names the program"),
            (None, _) if !self.trusted => problem(
                "cmd",
                "a `cmd` is a program of this machine and is not sandboxed; add `trusted: true` if it may do everything that this process may, or build it for wasm32-wasip2 and name it as `plugin`",
            ),
            (None, _) if !is_default(&self.settings) => {
                problem("settings", "a command has no settings; use `args`, `env` or `stdin`")
            }
            (Some(_), _) if self.trusted => problem("trusted", "a plugin is sandboxed; only a `cmd` has to be trusted"),
            _ => None,
        }
    }

    fn decodes(&self) -> bool {
        false
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &[]
    }

    fn unended(&self) -> String {
        format!("the spout {} has not ended by itself", self.label())
    }

    fn plugin(&self) -> Option<SourcePlugin<'_>> {
        let (reference, settings) = (self.plugin.as_deref()?, &self.settings);
        Some(SourcePlugin {
            reference,
            world: World::SelfDriven,
            settings,
            topic: "",
            env: Some(&self.env),
            acked: false,
        })
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let (pipeline, store, output) = (context.pipeline, context.store, context.output);
        let task = context.task.cloned();
        let make: Box<Make> = match (&self.plugin, task, self.cmd.split_first()) {
            (Some(_), Some(task), _) if task.plugin.worlds().contains(&World::Command) => {
                if !is_default(&self.settings) {
                    let reason = format!(
                        "the plugin `{}` is a plain command, which has no settings; use `args`, `env` or `stdin`",
                        self.label()
                    );
                    return Err(Error::Transform { reason });
                }
                command::check_marker(output)?;
                let invocation = self.invocation(&[]);
                Box::new(move |_| Box::new(SandboxedCommand::new(task.clone(), invocation.clone())))
            }
            (Some(_), Some(task), _) => {
                if self.speaks_of_a_command() {
                    let reason = format!(
                        "the plugin `{}` is no plain command: it has `settings`, and neither `args`, `stdin` nor `output`",
                        self.label()
                    );
                    return Err(Error::Transform { reason });
                }
                Box::new(move |commits| Box::new(PluginSpout::new(task.clone(), commits)))
            }
            (None, _, Some((program, args))) => {
                command::check_marker(output)?;
                let (program, invocation) = (program.clone(), self.invocation(args));
                let place = Place {
                    pipeline: pipeline.to_owned(),
                    base: context.base.to_owned(),
                    branch: output.branch.clone(),
                    access: context.access.cloned(),
                };
                Box::new(move |_| Box::new(TrustedCommand::new(place.clone(), &program, invocation.clone())))
            }
            _ => return Err(Error::NotLoaded { plugin: self.label() }),
        };
        Ok(Box::new(SpoutProducer::new(pipeline, store, output, make)))
    }
}
