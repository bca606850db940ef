//! `spout check`: what specs would do, and whether they can.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use arrow::datatypes::{Field, Schema};
use clap::Args;
use serde::Serialize;
use spout_consumer::ConsumerSpec;
use spout_node::{NodeSpec, Shape};
use spout_pipeline::Links;
use spout_plugin::{GrantSpec, PluginRef, Plugins, World};
use spout_producer::{DecoderSpec, SchemaText};
use spout_repo::{Differences, Store};
use spout_spec::{Loaded, ProducerSpec};

use super::{
    Global,
    findings::{self, Finding, examine, examine_all},
    print::{Printer, grouped, short},
};

/// Check specs, their plugins, settings and grants without running them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout check my.yaml
  spout check one.yaml two.yaml --json")]
pub(super) struct Check {
    /// Spec files, YAML or JSON, with one or more pipelines each.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
}

/// What a pipeline would do.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pipeline: String,
    file: String,
    line: usize,
    digest: String,
    writes: String,
    guarantee: String,
    reads: String,
    decoder: String,
    node: Vec<String>,
    /// What leaves the decoder and each handler, where that is known before any row.
    columns: Vec<Columns>,
    consumers: Vec<String>,
    /// How the Delta table will differ from the columns, where they are known.
    delta: Vec<String>,
    flush: String,
    plugins: Vec<PlannedPlugin>,
    grants: Vec<String>,
    /// The port whose connections reach the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

/// The columns that leave one part of the chain.
#[derive(Debug, Serialize)]
struct Columns {
    after: String,
    columns: Vec<String>,
}

/// A plugin that would run.
#[derive(Debug, Serialize)]
pub(super) struct PlannedPlugin {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) worlds: Vec<World>,
    /// What it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) asks: Vec<String>,
}

impl Check {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (specs, findings) = Box::pin(examine_all(&self.specs, global)).await;
        for (loaded, examined) in specs {
            if let Some(typed) = examined.typed {
                plan(&loaded, examined.plugins, typed, examined.differences).print(printer, global.verbose)?;
            }
        }
        findings::all(&findings, printer.json())
    }
}

/// What `loaded` would do, or all that is wrong with it.
pub(super) async fn planned(
    loaded: &Loaded,
    plugins: Option<&Plugins>,
    links: Option<&Links>,
    store: Option<&Store>,
) -> Result<Plan, Vec<Finding>> {
    let examined = examine(loaded, plugins, links, store).await;
    match examined.typed {
        Some(typed) if examined.findings.is_empty() => Ok(plan(loaded, examined.plugins, typed, examined.differences)),
        _ => Err(examined.findings),
    }
}

/// What would run.
fn plan(loaded: &Loaded, plugins: Vec<PlannedPlugin>, typed: Vec<(String, Shape)>, differences: Differences) -> Plan {
    let spec = &loaded.spec;
    let flush = &spec.commit.flush;
    let rows = if flush.rows == u64::MAX { "any number of".into() } else { format!("about {}", grouped(flush.rows)) };
    Plan {
        pipeline: spec.pipeline.name.clone(),
        file: loaded.path.display().to_string(),
        line: loaded.line,
        digest: loaded.digest.clone(),
        writes: format!("{}@{}:{}", spec.pipeline.name, spec.commit.branch, spec.commit.path),
        guarantee: guarantee(loaded),
        reads: each(loaded, |producer| producer.source().map(|source| source.spec.reads()).unwrap_or_default()),
        decoder: each(loaded, decoder),
        node: spec.node.iter().map(NodeSpec::describe).collect(),
        columns: typed.into_iter().filter_map(columns).collect(),
        consumers: spec.consumers.iter().map(consumer).collect(),
        delta: delta(differences),
        flush: match (&spec.input, &spec.transform) {
            (Some(_), _) => "one for each commit of the input, or for those that its trigger takes as one".into(),
            (None, Some(_)) => "where the spout finishes one".into(),
            (None, None) => match spec.producer.repo.as_ref().filter(|repo| !repo.split).map(|repo| &repo.trigger) {
                Some(None) => "one for each commit of the repo that it reads".into(),
                Some(Some(_)) => "one for the commits that its trigger takes as one".into(),
                None => format!("{rows} rows, {} or {}, where a fetch ends", flush.bytes, flush.time),
            },
        },
        plugins,
        grants: grants(loaded),
        service: spec.spout.service.as_ref().map(ToString::to_string),
    }
}

/// Worlds for people.
pub(super) fn joined(worlds: &[World]) -> String {
    worlds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What can be said of every message, here and in each consumer.
fn guarantee(loaded: &Loaded) -> String {
    // Nothing can be said of all but what can be said of the weakest.
    let promises = loaded.spec.sources().map(|(_, source)| source.spec.promise());
    let weakest = promises.min_by_key(|promise| promise.guarantee).map(|promise| promise.to_string());
    let others = if loaded.spec.consumers.is_empty() {
        ""
    } else {
        ", other consumers see rows before the commit: at-least-once at best"
    };
    format!("{} in the repo{others}", weakest.unwrap_or_default())
}

/// What is said of each producer, with its name where there are several.
fn each(loaded: &Loaded, of: impl Fn(&ProducerSpec) -> String) -> String {
    let named = |producer: &ProducerSpec| match producer.name.as_str() {
        "" => of(producer),
        name => format!("{name}: {}", of(producer)),
    };
    loaded.spec.producers().map(|(_, producer)| named(producer)).collect::<Vec<_>>().join("; ")
}

fn decoder(producer: &ProducerSpec) -> String {
    match &producer.decoder {
        Some(DecoderSpec::Plugin(decoder)) => format!("plugin {}", PluginRef::parse(&decoder.plugin).label),
        Some(decoder @ DecoderSpec::Native(native)) => {
            let adds = if decoder.evolves() { ", adds columns for new fields" } else { "" };
            format!("{}{adds}", native.name())
        }
        None => "none".into(),
    }
}

fn columns((after, shape): (String, Shape)) -> Option<Columns> {
    let column = |field: &Arc<Field>| {
        let word = SchemaText::print(&Schema::new(vec![Arc::clone(field)])).ok().and_then(|text| {
            let kind = serde_json::to_value(text).ok()?.get(field.name())?.clone();
            Some(kind.as_str().map_or_else(|| kind.to_string().replace('"', ""), str::to_owned))
        });
        format!("{}: {}", field.name(), word.unwrap_or_else(|| field.data_type().to_string()))
    };
    Some(Columns { after, columns: shape.schema?.fields().iter().map(column).collect() })
}

/// The columns on one line; of very many only the first, unless asked for all.
fn line(columns: &Columns, verbose: bool) -> String {
    const WIDTH: usize = 100;
    let mut text = format!("{}: ", columns.after);
    for (index, column) in columns.columns.iter().enumerate() {
        if !verbose && text.len() + column.len() > WIDTH && index > 0 {
            return format!("{text}… {} more", columns.columns.len() - index);
        }
        text += column;
        if index + 1 < columns.columns.len() {
            text += ", ";
        }
    }
    text
}

fn delta(differences: Differences) -> Vec<String> {
    let Differences { left_out, as_other } = differences;
    let without = (!left_out.is_empty()).then(|| format!("without {}", left_out.join(", ")));
    as_other.into_iter().chain(without).collect()
}

fn consumer(consumer: &ConsumerSpec) -> String {
    format!("{} ({})", consumer.describe(), consumer.guarantee())
}

/// What each plugin is granted, a line each; of secrets only where they are.
fn grants(loaded: &Loaded) -> Vec<String> {
    let own = loaded.spec.producers().map(|(_, producer)| &producer.grants);
    let all = std::iter::once(&loaded.spec.grants).chain(own).flatten();
    all.flat_map(|(plugin, grant)| granted(loaded, grant).into_iter().map(move |what| format!("{plugin}: {what}")))
        .collect()
}

fn granted(loaded: &Loaded, grant: &GrantSpec) -> Vec<String> {
    let dirs = grant.dirs.iter().map(|(inside, dir)| {
        let how = if dir.writable() { "read and write" } else { "read" };
        format!("{} as /{inside}, {how}", loaded.resolve(dir.path()).display())
    });
    let net = grant.net.iter().map(|net| format!("connections to {net}"));
    let endpoints = grant.endpoints.iter().map(|(name, endpoint)| format!("the endpoint {name}, {endpoint}"));
    let secrets = grant.secrets.iter().map(|(name, secret)| format!("the secret {name}, {secret}"));
    let listen = grant.listen.iter().map(|listen| format!("listening at {listen}"));
    let env = grant.env.iter().map(|(name, value)| format!("the environment variable {name}, {value}"));
    dirs.chain(net).chain(endpoints).chain(secrets).chain(listen).chain(env).collect()
}

impl Plan {
    pub(super) fn print(&self, printer: &mut Printer, verbose: bool) -> Result<()> {
        if printer.json() {
            return printer.value(self);
        }
        let plugin = |plugin: &PlannedPlugin| {
            format!("{} sha256:{} ({})", plugin.name, short(&plugin.digest), joined(&plugin.worlds))
        };
        let asks = self.plugins.iter().filter(|plugin| !plugin.asks.is_empty());
        let asks: Vec<String> = asks.map(|plugin| format!("{}: {}", plugin.name, plugin.asks.join(", "))).collect();
        printer.facts(&[
            ("pipeline", format!("{} ({}:{})", self.pipeline, self.file, self.line)),
            ("reads", self.reads.clone()),
            ("decoder", self.decoder.clone()),
            ("node", self.node.join("\n")),
            ("columns", self.columns.iter().map(|columns| line(columns, verbose)).collect::<Vec<_>>().join("\n")),
            ("writes", self.writes.clone()),
            ("commits at", self.flush.clone()),
            ("consumers", self.consumers.join("\n")),
            ("Delta table", self.delta.join("\n")),
            ("guarantee", self.guarantee.clone()),
            ("plugins", self.plugins.iter().map(plugin).collect::<Vec<_>>().join("\n")),
            ("asks for", asks.join("\n")),
            ("grants", self.grants.join("\n")),
            ("service", self.service.clone().unwrap_or_default()),
            ("spec", format!("sha256:{}", short(&self.digest))),
        ])?;
        printer.line("")
    }
}
