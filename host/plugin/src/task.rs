//! Who runs what, with which grants and limits.

use std::sync::Arc;

use arrow::datatypes::Schema;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    At, Error, Exposed, GrantSpec, LimitsSpec, Metrics, Plugin, Quotas, World, convert::schema::same_columns,
    files::Threads, grants::check_grants, instance::overran, leash::Leash,
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

    /// Checks that everything is granted that the plugin asks for where it is used as `world`, that nothing of the host's own is, and
    /// that secrets are there. Where it asks for the directory `{topic}`, that is the one of `topic`, which it is used to read.
    /// What paths lead to may hang: that keeps a thread of the plugin's own, and whoever asks no longer than a call may take.
    ///
    /// # Errors
    /// What is missing, and what to add to the spec; a directory that nobody may be granted; a secret that cannot be read; that it
    /// takes too long.
    pub fn check_grants<'a>(&'a self, world: World, topic: Option<&'a str>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let topic = topic.map(ToOwned::to_owned);
            self.waiting("instantiate", move |task| {
                let port = task.exposed.as_ref().map(Exposed::port);
                check_grants(&task.plugin, (world, &task.offer), &task.grants, (topic.as_deref(), port))
            })
            .await
        })
    }

    /// What `work` comes to, which may wait for files: on a thread of the plugin's own, and as long as `call` may take.
    pub(super) async fn waiting<T: Send + 'static>(
        &self,
        call: &'static str,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (limit, turns) = (self.limits.call.0, self.quotas.turns(self.limits.processors()));
        let (own, threads) = (self.clone(), self.threads());
        let leash = Leash::new(limit, &self.draining, &turns);
        match leash.hold(threads.block(move || work(&own))).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Closed),
            },
            Err(overrun) => Err(overran(self, call, limit, overrun)),
        }
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
