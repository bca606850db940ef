//! A process that does parts of bulk work, beside the tasks of pipelines.

use std::{future::ready, sync::Arc};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use spout_base::error::chain;
use spout_pipeline::{Lost, Says, Works};
use spout_repo::Store;

use super::words::{Ask, Part, Told, VERSION, frame, is_bulk, unframe};

/// Does parts of bulk work on one store.
#[derive(Clone, Debug)]
pub struct Bulk {
    store: Store,
    others: Option<Arc<dyn Works>>,
}

impl Bulk {
    /// Does parts of bulk work on `store`; all other tasks `others` does.
    #[must_use]
    pub fn new(store: &Store, others: Arc<dyn Works>) -> Self {
        Self { store: store.clone(), others: Some(others) }
    }

    /// Does them, and nothing else.
    #[must_use]
    pub fn alone(store: &Store) -> Self {
        Self { store: store.clone(), others: None }
    }
}

impl Works for Bulk {
    fn work(&self, task: Bytes, orders: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Says, String>> {
        if !is_bulk(&task) {
            return match &self.others {
                Some(others) => others.work(task, orders),
                None => nothing(),
            };
        }
        let store = self.store.clone();
        // Nobody gives orders to a part: whoever wants it no longer drops the answer.
        stream::once(async move { frame(&done(&store, &task).await).map(Says::to_leader) }).boxed()
    }

    fn gather(
        &self,
        task: Bytes,
        orders: BoxStream<'static, Bytes>,
        from: BoxStream<'static, Result<Bytes, Lost>>,
    ) -> BoxStream<'static, Result<Bytes, String>> {
        match &self.others {
            Some(others) => others.gather(task, orders, from),
            None => nothing(),
        }
    }
}

fn nothing<T: Send + 'static>() -> BoxStream<'static, Result<T, String>> {
    let why = "this process does parts of bulk work, and no tasks of pipelines".to_owned();
    stream::once(ready(Err(why))).boxed()
}

async fn done(store: &Store, task: &[u8]) -> Told {
    let ask: Ask<'_> = match unframe(task) {
        Ok(ask) => ask,
        Err(why) => return Told::Failed(why),
    };
    if ask.version != VERSION {
        let other = ask.version;
        return Told::Failed(format!("it does parts of version {VERSION}, not of {other}: run one version of spout"));
    }
    let told = match &ask.part {
        Part::Read(part) => part.read(store).await.map(Told::Read),
        Part::Merge(part) => Box::pin(part.merge(store)).await.map(|prepared| Told::Merged(Box::new(prepared))),
    };
    told.unwrap_or_else(|error| Told::Failed(chain(&error)))
}
