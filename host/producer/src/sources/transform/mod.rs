//! `transform`: a spout that drives itself. It decides what belongs into a commit and when one is made; the pipeline makes it.
//!
//! [`Commits`](commits::Commits) are the spout's own: files of one go straight into the open commit of the output repo, its rows
//! through handlers and consumers as those of any source, and all of it is cut as one commit of the pipeline. So there is no
//! other way to commit, and none to publish, to count, or to be fenced.
//!
//! There is one partition, 0. Its offset counts the commits of the spout; the token of its position is the marker.

mod commits;
mod fetcher;
mod guest_commit;
mod plugin;
mod producer;
mod supervise;

use std::fmt::Debug;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_plugin::{PluginRef, Settings, World};

use self::{commits::Commits, plugin::PluginSpout, producer::SpoutProducer};
use crate::{Class, Error, Guarantee, MetadataColumn, Producer, Promise, SourceContext, SourcePlugin, SourceSpec};

/// A spout that drives itself, as in `{plugin: my-spout, settings: {topic: orders}}`. It stands in a spec instead of a `producer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransformSpec {
    /// Name of the plugin, `my-spout`, or of one of its spouts, `feeds/orders`; `my-spout@sha256:…` pins its digest too.
    pub plugin: String,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
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
    /// Runs it from the marker of `commits` until it ends, or does so soon after the order to stop.
    async fn run(&self, commits: &Commits) -> Result<(), Failed>;

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

impl SourceSpec for TransformSpec {
    fn reads(&self) -> String {
        format!(
            "the spout {}, which makes its own commits, from the marker of the last",
            PluginRef::parse(&self.plugin).label
        )
    }

    fn promise(&self) -> Promise {
        let but = "if the plugin continues from its marker, which is committed with its data";
        Promise { class: Class::SelfDriven, guarantee: Some(Guarantee::ExactlyOnce), but }
    }

    fn decodes(&self) -> bool {
        false
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &[]
    }

    fn unended(&self) -> String {
        format!("the spout {} has not ended by itself", PluginRef::parse(&self.plugin).label)
    }

    fn plugin(&self) -> Option<SourcePlugin<'_>> {
        let (reference, settings) = (self.plugin.as_str(), &self.settings);
        Some(SourcePlugin { reference, world: World::SelfDriven, settings, topic: "" })
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let task = context.task.cloned().ok_or_else(|| Error::NotLoaded { plugin: self.plugin.clone() })?;
        let (pipeline, store, output) = (context.pipeline, context.store, context.output);
        Ok(Box::new(SpoutProducer::new(pipeline, store, output, move |commits| {
            Box::new(PluginSpout::new(task.clone(), commits))
        })))
    }
}
