//! Calls `transformer`: one file in, files out.

use std::sync::Arc;

use futures::future::BoxFuture;
use wasmtime::component::Resource;

use super::{
    Error, PfsCommit, PfsInput, World,
    bindings::exports::spout::plugin::transformer as wit,
    instance::Instance,
    pfs::{datum::Lent, imports::Begun},
    task::Task,
};

const TRANSFORM: &str = "transformer.transform";

/// A plugin that makes files of a file. Its instance serves for many of them; after a crash the next call opens another.
#[derive(Debug)]
pub struct Transformer {
    task: Task,
    instance: Option<Instance>,
}

impl Transformer {
    /// The plugin of `task`.
    #[must_use]
    pub fn new(task: Task) -> Self {
        Self { task, instance: None }
    }

    /// Lets the next call open an instance of its own.
    pub fn renew(&mut self) {
        self.instance = None;
    }

    /// Lets the plugin make files of `input` and put them into `output`, which is dropped when this returns. It has no time limit,
    /// but for what it computes from one call to the host to the next.
    ///
    /// # Errors
    /// What the plugin returns, or how it crashed; [`Error::Interrupted`] if the pipeline wants to stop.
    pub fn transform<'a>(
        &'a mut self,
        input: Box<dyn PfsInput>,
        output: Box<dyn PfsCommit>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let task = &self.task;
            let indices =
                task.plugin.interfaces.transformer.clone().ok_or_else(|| task.plugin.lacks(World::Transformer))?;
            let mut instance = match self.instance.take() {
                Some(instance) => instance,
                None => Instance::open(task).await?,
            };
            let guest: wit::Guest = instance.load(|store, linked| indices.load(store, linked))?;
            let leash = instance.begin_driving(None, Arc::default());
            let full = |error: wasmtime::Error| Error::Contract { at: task.at(TRANSFORM), what: format!("{error:#}") };
            let table = &mut instance.store.data_mut().table;
            let input = table.push(Lent(input)).map_err(|error| full(error.into()))?;
            let output = table.push(Begun(output)).map_err(|error| full(error.into()))?;
            let (file, commit, settings) = (lent(&input), lent(&output), task.settings());
            let call = guest.call_transform(&mut instance.store, &task.offer, file, commit, &settings);
            let answer = leash.hold(call).await;
            let table = &mut instance.store.data_mut().table;
            let returned = table.delete(input).map(drop).and_then(|()| table.delete(output).map(drop));
            let transformed = instance.settle(TRANSFORM, answer);
            if !instance.spoilt() && transformed.as_ref().err().is_none_or(|error| !error.is_crash()) {
                self.instance = Some(instance);
            }
            transformed?;
            returned.map_err(|error| full(error.into()))
        })
    }
}

/// A resource that is lent for a call.
fn lent<T: 'static>(own: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(own.rep())
}
