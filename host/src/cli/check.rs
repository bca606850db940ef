//! `spout check`: what specs would do, and whether they can.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Result;
use arrow::datatypes::{Field, Schema};
use clap::Args;
use serde::Serialize;

use super::{
    Global,
    error::Error,
    print::{Printer, grouped, short},
};
use crate::{
    consumer::ConsumerSpec,
    node::{NodeSpec, Shape},
    pipeline::{Links, Parts},
    plugin::{self, Offer, Plugin, Plugins, Settings, World},
    producer::{ConsumerType, DecoderSpec, SchemaText},
    spec::{self, Loaded, all_handlers, load_all, plugin_name},
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
    flush: String,
    plugins: Vec<PlannedPlugin>,
    grants: Vec<String>,
}

/// The columns that leave one part of the chain.
#[derive(Debug, Serialize)]
struct Columns {
    after: String,
    columns: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PlannedPlugin {
    name: String,
    digest: String,
    worlds: Vec<World>,
}

impl Check {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let specs = load_all(&self.specs)?;
        let links = Links::between(&specs)?;
        let plugins = global.open_plugins()?;
        for loaded in &specs {
            let plan = plan(loaded, &plugins, &links).await?;
            plan.print(printer, global.verbose)?;
        }
        Ok(())
    }
}

/// Loads what `loaded` needs, checks it, and says what would run.
pub(super) async fn plan(loaded: &Loaded, plugins: &Plugins, links: &Links) -> Result<Plan> {
    let built = Parts::build(loaded, plugins, links).await?;
    check_directories(loaded)?;
    let mut used = Vec::new();
    for part in parts(loaded) {
        let plugin = plugins.get(part.plugin).await?;
        check_world(loaded, &plugin, &part)?;
        check_settings(loaded, &plugin, &part).await?;
        let name = plugin.name().to_owned();
        if used.iter().all(|known: &PlannedPlugin| known.name != name) {
            used.push(PlannedPlugin { name, digest: plugin.digest().to_owned(), worlds: plugin.worlds().to_vec() });
        }
    }
    let typed = built.typed().await?;
    let spec = &loaded.spec;
    let flush = &spec.commit.flush;
    let rows = if flush.rows == u64::MAX { "any number of".into() } else { format!("about {}", grouped(flush.rows)) };
    Ok(Plan {
        pipeline: spec.pipeline.name.clone(),
        file: loaded.path.display().to_string(),
        line: loaded.line,
        digest: loaded.digest.clone(),
        writes: format!("{}@{}:{}", spec.pipeline.name, spec.commit.branch, spec.commit.path),
        guarantee: guarantee(loaded),
        reads: spec.producer.source().map(|source| source.reads()).unwrap_or_default(),
        decoder: decoder(loaded),
        node: spec.node.iter().map(handler).collect(),
        columns: typed.into_iter().filter_map(columns).collect(),
        consumers: spec.consumers.iter().map(consumer).collect(),
        flush: format!("{rows} rows, {} or {}, where a fetch ends", flush.bytes, flush.time),
        plugins: used,
        grants: grants(loaded),
    })
}

/// Where a spec uses a plugin, and what as.
struct Part<'a> {
    path: String,
    plugin: &'a str,
    world: World,
    /// Which of several offers, where the spec says.
    name: &'a str,
    settings: &'a Settings,
}

fn parts(loaded: &Loaded) -> Vec<Part<'_>> {
    let spec = &loaded.spec;
    let mut parts = Vec::new();
    if let Some(stream) = &spec.producer.stream {
        let world = match stream.consumer_type {
            ConsumerType::Lowlevel => World::Source,
            ConsumerType::Highlevel => World::StreamSource,
        };
        let path = "producer.stream".to_owned();
        parts.push(Part { path, plugin: &stream.plugin, world, name: "", settings: &stream.settings });
    }
    if let Some(DecoderSpec::Plugin(decoder)) = &spec.producer.decoder {
        let (path, world) = ("producer.decoder".to_owned(), World::Decoder);
        parts.push(Part { path, plugin: &decoder.plugin, world, name: &decoder.name, settings: &decoder.settings });
    }
    for (path, node) in all_handlers(&spec.node, "node") {
        if let NodeSpec::Plugin(plugin) = node {
            let world = World::Handler;
            parts.push(Part { path, plugin: &plugin.plugin, world, name: &plugin.name, settings: &plugin.settings });
        }
    }
    parts
}

/// Interfaces whose settings count for a plugin used as `world`.
fn interfaces(world: World) -> &'static [&'static str] {
    match world {
        World::Source => &["partition-consumer", "metadata-provider"],
        World::StreamSource => &["stream-consumer"],
        World::Decoder => &["decoder"],
        World::Handler => &["handler"],
        World::SelfDriven => &["spout"],
    }
}

/// Refuses a granted directory that is not there; a run would find out when the plugin opens it.
fn check_directories(loaded: &Loaded) -> Result<()> {
    for (plugin, grant) in &loaded.spec.grants {
        for (inside, dir) in &grant.dirs {
            let path = loaded.resolve(dir.path());
            let Err(reason) = fs::read_dir(&path) else { continue };
            let (plugin, name, reason) = (plugin.clone(), inside.clone(), reason.to_string());
            let at = loaded.place(&format!("grants.{plugin}.dirs.{inside}"));
            let error = plugin::Error::Grant { plugin, name, path, reason };
            return Err(anyhow::Error::from(error).context(format!("{at}: a granted directory cannot be opened")));
        }
    }
    Ok(())
}

/// Refuses a plugin that is something else than what the spec uses it as.
fn check_world(loaded: &Loaded, plugin: &Plugin, part: &Part<'_>) -> Result<()> {
    if plugin.worlds().contains(&part.world) {
        return Ok(());
    }
    let wanted = match part.world {
        World::Source => "source",
        World::StreamSource => "stream source",
        World::Decoder => "decoder",
        World::Handler => "handler",
        World::SelfDriven => "self-driven spout",
    };
    let error = plugin::Error::WrongWorld { plugin: plugin.name().to_owned(), wanted, has: joined(plugin.worlds()) };
    let path = format!("{}.plugin", part.path);
    Err(anyhow::Error::from(error)
        .context(format!("{}: `{path}` names a plugin that does not fit", loaded.place(&path))))
}

/// Fits the settings of one plugin to the schema it offers for them.
async fn check_settings(loaded: &Loaded, plugin: &Arc<Plugin>, part: &Part<'_>) -> Result<()> {
    let offers = plugin.describe(&loaded.spec.limits).await?;
    let fitting = |offer: &&Offer| {
        interfaces(part.world).contains(&offer.interface.as_str()) && (part.name.is_empty() || part.name == offer.name)
    };
    let Some(offer) = offers.iter().find(fitting).filter(|offer| !offer.settings_schema.trim().is_empty()) else {
        return Ok(());
    };
    let schema = serde_json::from_str(&offer.settings_schema).map_err(|source| Error::SettingsSchema {
        plugin: plugin.name().to_owned(),
        interface: offer.interface.clone(),
        source,
    })?;
    Ok(spec::check_settings(loaded, &format!("{}.settings", part.path), part.settings, &schema)?)
}

/// Worlds for people.
pub(super) fn joined(worlds: &[World]) -> String {
    worlds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What can be said of every message, here and in each consumer.
fn guarantee(loaded: &Loaded) -> String {
    let promise = loaded.spec.producer.source().map(|source| source.promise().to_string());
    let others = match loaded.spec.consumers.is_empty() {
        true => "",
        false => ", other consumers see rows before the commit: at-least-once at best",
    };
    format!("{} in the repo{others}", promise.unwrap_or_default())
}

fn decoder(loaded: &Loaded) -> String {
    match &loaded.spec.producer.decoder {
        Some(DecoderSpec::Plugin(decoder)) => format!("plugin {}", plugin_name(&decoder.plugin)),
        Some(DecoderSpec::Native(native)) => native.name().into(),
        None => "none".into(),
    }
}

fn handler(node: &NodeSpec) -> String {
    match node {
        NodeSpec::Default(default) => format!("{}: values for missing columns", default.id),
        NodeSpec::Dispatch(dispatch) => {
            let within: Vec<String> = dispatch.nodes.iter().map(handler).collect();
            format!("{}: for each {}, {}", dispatch.id, dispatch.group_by.join(", "), within.join(", then "))
        }
        NodeSpec::Aggregate(aggregate) => {
            let names: Vec<&str> = aggregate.columns.0.iter().map(|(name, _)| name.as_str()).collect();
            format!("{}: aggregate {}", aggregate.id, names.join(", "))
        }
        NodeSpec::DynamicWindow(window) => format!("{}: window of column {}", window.id, window.period),
        NodeSpec::Filter(filter) => format!("{}: rows where {}", filter.id, filter.r#where),
        NodeSpec::Group(group) => format!("{}: groups by {}", group.id, group.columns.join(", ")),
        NodeSpec::Log(log) => format!("{}: log", log.id),
        NodeSpec::Map(map) => format!("{}: map", map.id),
        NodeSpec::Plugin(plugin) => format!("{}: plugin {}", plugin.id, plugin_name(&plugin.plugin)),
        NodeSpec::Sort(sort) => format!("{}: sort", sort.id),
        NodeSpec::Sql(sql) => format!("{}: {}", sql.id, sql.query.trim()),
        NodeSpec::Window(window) => format!("{}: window of {}", window.id, window.length()),
        _ => format!("{}: {}", node.id(), node.clone().named().0),
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

fn consumer(consumer: &ConsumerSpec) -> String {
    format!("{} ({})", consumer.describe(), consumer.guarantee())
}

fn grants(loaded: &Loaded) -> Vec<String> {
    let dirs = loaded.spec.grants.iter().flat_map(|(plugin, grant)| grant.dirs.iter().map(move |dir| (plugin, dir)));
    dirs.map(|(plugin, (inside, dir))| {
        let how = if dir.writable() { "read and write" } else { "read" };
        format!("{plugin}: {} as /{inside}, {how}", loaded.resolve(dir.path()).display())
    })
    .collect()
}

impl Plan {
    pub(super) fn print(&self, printer: &mut Printer, verbose: bool) -> Result<()> {
        if printer.json() {
            return printer.value(self);
        }
        let plugin = |plugin: &PlannedPlugin| {
            format!("{} sha256:{} ({})", plugin.name, short(&plugin.digest), joined(&plugin.worlds))
        };
        printer.facts(&[
            ("pipeline", format!("{} ({}:{})", self.pipeline, self.file, self.line)),
            ("reads", self.reads.clone()),
            ("decoder", self.decoder.clone()),
            ("node", self.node.join("\n")),
            ("columns", self.columns.iter().map(|columns| line(columns, verbose)).collect::<Vec<_>>().join("\n")),
            ("writes", self.writes.clone()),
            ("commits at", self.flush.clone()),
            ("consumers", self.consumers.join("\n")),
            ("guarantee", self.guarantee.clone()),
            ("plugins", self.plugins.iter().map(plugin).collect::<Vec<_>>().join("\n")),
            ("grants", self.grants.join("\n")),
            ("spec", format!("sha256:{}", short(&self.digest))),
        ])?;
        printer.line("")
    }
}
