//! A store that stops taking changes at a chosen one, or fails at it, before or after doing it.

use std::{
    fmt, io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

#[derive(Debug)]
pub(super) struct Stopping {
    inner: InMemory,
    left: AtomicI64,
    /// Whether the change at which it stops is done.
    done: bool,
    /// Whether later ones are done too.
    once: bool,
}

impl Stopping {
    /// The store over a copy of `inner`, for so many changes.
    pub(super) fn after(inner: &InMemory, changes: i64, done: bool) -> Arc<Self> {
        Arc::new(Self { inner: inner.fork(), left: AtomicI64::new(changes), done, once: false })
    }

    /// The same, which fails at that change alone.
    pub(super) fn at(inner: &InMemory, change: i64, done: bool) -> Arc<Self> {
        Arc::new(Self { inner: inner.fork(), left: AtomicI64::new(change), done, once: true })
    }

    pub(super) fn store(&self) -> &InMemory {
        &self.inner
    }

    /// Whether to do a change, and whether to say that it failed.
    fn pass(&self) -> (bool, bool) {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1.. => (true, false),
            0 => (self.done, true),
            _ => (self.once, !self.once),
        }
    }
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopping")
    }
}

fn stopped() -> object_store::Error {
    object_store::Error::Generic { store: "Stopping", source: io::Error::other("the process is dead").into() }
}

#[async_trait]
impl ObjectStore for Stopping {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (act, fail) = self.pass();
        let put = if act { Some(self.inner.put_opts(location, payload, opts).await?) } else { None };
        put.filter(|_| !fail).ok_or_else(stopped)
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("files of these tests are small")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // One after the other is enough for a test.
        let passes: Vec<_> = futures::executor::block_on(locations.collect::<Vec<_>>());
        let deleted = passes.into_iter().map(|location| {
            let location = location?;
            let (act, fail) = self.pass();
            if act {
                futures::executor::block_on(object_store::ObjectStoreExt::delete(&self.inner, &location))?;
            }
            if fail { Err(stopped()) } else { Ok(location) }
        });
        futures::stream::iter(deleted.collect::<Vec<_>>()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (act, fail) = self.pass();
        if act {
            self.inner.copy_opts(from, to, options).await?;
        }
        if fail { Err(stopped()) } else { Ok(()) }
    }
}
