//! Where a spec uses plugins, what as, and with what.

use std::collections::BTreeMap;

use spout_node::PluginSpec;
use spout_plugin::{GrantSpec, Settings, World};
use spout_producer::{DecoderSpec, PluginDecoder, SourcePlugin};

use super::{PipelineSpec, all_handlers};

/// One use of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct PluginUse<'a> {
    /// The plugin, as the spec names it.
    pub reference: &'a str,
    /// What it is used as.
    pub world: World,
    /// Its settings.
    pub settings: &'a Settings,
    /// What it reads, if it is a source.
    pub topic: Option<&'a str>,
    /// What its producer grants, rather than the pipeline.
    pub grants: Option<&'a BTreeMap<String, GrantSpec>>,
    /// Environment variables that it has besides those that are granted.
    pub env: Option<&'a BTreeMap<String, String>>,
    /// Whether it is a source that is to be acknowledged.
    pub acked: bool,
}

impl<'a> PluginUse<'a> {
    /// As a source.
    #[must_use]
    pub fn source(spec: SourcePlugin<'a>, grants: &'a BTreeMap<String, GrantSpec>) -> Self {
        let SourcePlugin { reference, world, settings, topic, env, acked } = spec;
        Self { reference, world, settings, topic: Some(topic), grants: Some(grants), env, acked }
    }

    /// As a decoder.
    #[must_use]
    pub fn decoder(spec: &'a PluginDecoder, grants: &'a BTreeMap<String, GrantSpec>) -> Self {
        let (world, settings) = (World::Decoder, &spec.settings);
        Self { reference: &spec.plugin, world, settings, topic: None, grants: Some(grants), env: None, acked: false }
    }

    /// As a handler.
    #[must_use]
    pub fn handler(spec: &'a PluginSpec) -> Self {
        let (world, settings) = (World::Handler, &spec.settings);
        Self { reference: &spec.plugin, world, settings, topic: None, grants: None, env: None, acked: false }
    }
}

/// The plugins that a spec uses with the path of each, such as `producer.stream`, in the order in which messages pass them.
#[must_use]
pub fn plugins(spec: &PipelineSpec) -> Vec<(String, PluginUse<'_>)> {
    let mut out = Vec::new();
    for (at, producer) in spec.producers() {
        for (key, plugin) in producer.written().into_iter().filter_map(|(key, spec)| Some((key, spec.plugin()?))) {
            out.push((PipelineSpec::written_at(&at, key), PluginUse::source(plugin, &producer.grants)));
        }
        if let Some(DecoderSpec::Plugin(decoder)) = &producer.decoder {
            out.push((format!("{at}.decoder"), PluginUse::decoder(decoder, &producer.grants)));
        }
    }
    for (path, node) in all_handlers(&spec.node, "node") {
        out.extend(node.plugin().map(|plugin| (path, PluginUse::handler(plugin))));
    }
    out
}
