//! A store that fails at a chosen write, before or after doing it, and counts.

use std::{
    fmt, io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

/// What a write does instead of what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// Nothing, and says so.
    Before(io::ErrorKind),
    /// All of it, and the answer is lost.
    After,
    /// All of it, and reports that the name was taken: a request that was repeated below.
    Repeated,
    /// Nothing now and reads fail too.
    Gone,
    /// Never answers.
    Hang,
}

#[derive(Debug)]
pub(super) struct Failing {
    inner: InMemory,
    puts: AtomicU64,
    plan: Mutex<Option<(u64, Failure)>>,
    gone: Mutex<bool>,
}

impl Failing {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            puts: AtomicU64::new(0),
            plan: Mutex::new(None),
            gone: Mutex::new(false),
        })
    }

    /// Fails the write after the next `skip`.
    pub(super) fn fail(&self, skip: u64, failure: Failure) {
        *self.plan.lock().unwrap() = Some((self.puts() + skip, failure));
    }

    pub(super) fn heal(&self) {
        *self.plan.lock().unwrap() = None;
        *self.gone.lock().unwrap() = false;
    }

    pub(super) fn puts(&self) -> u64 {
        self.puts.load(Ordering::SeqCst)
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

fn lost(kind: io::ErrorKind) -> object_store::Error {
    object_store::Error::Generic { store: "Failing", source: io::Error::new(kind, "as planned").into() }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let pass = self.puts.fetch_add(1, Ordering::SeqCst);
        let failure = self.plan.lock().unwrap().take_if(|(at, _)| *at == pass).map(|(_, failure)| failure);
        match failure {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Failure::Before(kind)) => Err(lost(kind)),
            Some(Failure::After) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(lost(io::ErrorKind::TimedOut))
            }
            Some(Failure::Repeated) => {
                self.inner.put_opts(location, payload, opts).await?;
                let source = io::Error::from(io::ErrorKind::AlreadyExists).into();
                Err(object_store::Error::AlreadyExists { path: location.to_string(), source })
            }
            Some(Failure::Hang) => std::future::pending().await,
            Some(Failure::Gone) => {
                *self.gone.lock().unwrap() = true;
                Err(lost(io::ErrorKind::TimedOut))
            }
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("the repo creates whole objects")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if *self.gone.lock().unwrap() {
            return Err(lost(io::ErrorKind::TimedOut));
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        panic!("the repo deleted something")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("the repo copies nothing")
    }
}
