//! Who runs what, with which grants and limits.

use std::sync::Arc;

use arrow::datatypes::Schema;
use tokio_util::sync::CancellationToken;

use super::{
    At, Error, Exposed, GrantSpec, LimitsSpec, Metrics, Plugin, Quotas, convert::schema::same_columns, files::Threads,
};

/// One use of a plugin in a pipeline. Every instance opened for it gets the same.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Which of the plugin's offers; empty if it has none by name.
    pub offer: String,
    /// What it may reach; paths are absolute.
    pub grants: GrantSpec,
    /// The port that it gets connections from outside at, if it is a service.
    pub exposed: Option<Exposed>,
    /// What it may use up.
    pub limits: LimitsSpec,
    /// What it has used up of what all its instances share, in every use of it in this pipeline.
    pub quotas: Quotas,
    /// Its settings, sorted by name.
    pub settings: Vec<(String, String)>,
    /// Cancelled when the pipeline wants to stop; `control` tells the guest.
    pub draining: CancellationToken,
    /// What its instances counted.
    pub metrics: Metrics,
}

impl Task {
    /// Checks that rows which a handler's answer leads to have the columns that it has declared.
    ///
    /// # Errors
    /// The first column that differs.
    pub fn check_output(&self, declared: &Schema, answered: &Schema) -> Result<(), Error> {
        same_columns(declared, answered).map_err(|what| self.broke("handler.process", &what))
    }

    /// A rule of `call` that an answer breaks, in words which may have what a guest said: without secrets.
    pub(super) fn broke(&self, call: &'static str, what: &str) -> Error {
        Error::Contract { at: self.at(call), what: self.quotas.masks().hide(what).into_owned() }
    }

    pub(super) fn at(&self, call: &'static str) -> Box<At> {
        Box::new(At { pipeline: self.pipeline.clone(), plugin: self.plugin.name().to_owned(), call })
    }

    /// What waits for files on behalf of its instances.
    pub(super) fn threads(&self) -> Threads {
        self.quotas.threads(|| Threads::of(&self.pipeline, self.plugin.name(), self.limits.threads()))
    }

    pub(super) fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}
