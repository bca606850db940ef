//! Where a spec uses plugins, what as, and with what.

use std::collections::BTreeMap;

use spout_node::PluginSpec;
use spout_plugin::{GrantSpec, Settings, World};
use spout_producer::{ConsumerType, DecoderSpec, PluginDecoder, StreamSpec};

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
}

impl<'a> PluginUse<'a> {
    /// As a source.
    #[must_use]
    pub fn stream(spec: &'a StreamSpec, grants: &'a BTreeMap<String, GrantSpec>) -> Self {
        let world = match spec.consumer_type {
            ConsumerType::Lowlevel => World::Source,
            ConsumerType::Highlevel => World::StreamSource,
        };
        let (settings, topic) = (&spec.settings, Some(spec.topic.as_str()));
        Self { reference: &spec.plugin, world, settings, topic, grants: Some(grants) }
    }

    /// As a decoder.
    #[must_use]
    pub fn decoder(spec: &'a PluginDecoder, grants: &'a BTreeMap<String, GrantSpec>) -> Self {
        let (world, settings) = (World::Decoder, &spec.settings);
        Self { reference: &spec.plugin, world, settings, topic: None, grants: Some(grants) }
    }

    /// As a handler.
    #[must_use]
    pub fn handler(spec: &'a PluginSpec) -> Self {
        let (world, settings) = (World::Handler, &spec.settings);
        Self { reference: &spec.plugin, world, settings, topic: None, grants: None }
    }
}

/// The plugins that a spec uses with the path of each, such as `producer.stream`, in the order in which messages pass them.
#[must_use]
pub fn plugins(spec: &PipelineSpec) -> Vec<(String, PluginUse<'_>)> {
    let mut out = Vec::new();
    for (at, producer) in spec.producers() {
        if let Some(stream) = &producer.stream {
            out.push((format!("{at}.stream"), PluginUse::stream(stream, &producer.grants)));
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
