//! Who runs what, with which grants and limits.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{At, GrantSpec, LimitsSpec, Metrics, Plugin};

/// One use of a plugin in a pipeline. Every instance opened for it gets the same.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// What it may reach; paths are absolute.
    pub grants: GrantSpec,
    /// What it may use up.
    pub limits: LimitsSpec,
    /// Its settings, sorted by name.
    pub settings: Vec<(String, String)>,
    /// Cancelled when the pipeline wants to stop; `control` tells the guest.
    pub draining: CancellationToken,
    /// What its instances counted.
    pub metrics: Metrics,
}

impl Task {
    pub(super) fn at(&self, call: &'static str) -> Box<At> {
        Box::new(At { pipeline: self.pipeline.clone(), plugin: self.plugin.name().to_owned(), call })
    }

    pub(super) fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}
