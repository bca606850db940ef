//! A store whose n-th call, whatever it is, goes wrong in a chosen way.

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
use futures::{FutureExt, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, memory::InMemory, path::Path,
};
use tokio::task::JoinHandle;

/// What a call does instead of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing, and says so.
    Fails,
    /// What was asked, after whatever else can happen meanwhile.
    Slow,
    /// What was asked, and the answer is lost.
    AnswerLost,
    /// Says that it failed, and does what was asked after about so many other calls.
    Late(u32),
}

/// How a store creates an object that must not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creation {
    /// One of all that ask may.
    Exclusive,
    /// It looks first, and writes then.
    ChecksThenWrites,
    /// It does not look.
    Overwrites,
    /// It always says that the name is taken.
    NeverLets,
    /// It may not write.
    Forbidden,
    /// It turns down the first request, as S3 does when two meet.
    Meets,
}

#[derive(Clone, Debug)]
pub(super) struct Faulty {
    inner: Arc<InMemory>,
    creation: Creation,
    calls: Arc<AtomicU64>,
    plan: Option<(u64, Fault)>,
    late: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Faulty {
    /// Lets the call number `at` go wrong, counted from zero.
    pub(super) fn new(at: u64, fault: Fault) -> Self {
        let mut store = Self::creating(Creation::Exclusive);
        store.plan = Some((at, fault));
        store
    }

    pub(super) fn creating(creation: Creation) -> Self {
        Self { inner: Arc::default(), creation, calls: Arc::default(), plan: None, late: Arc::default() }
    }

    /// The same objects, and nothing goes wrong.
    pub(super) fn healed(&self) -> Self {
        Self { plan: None, creation: Creation::Exclusive, ..self.clone() }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits for what arrives late.
    pub(super) async fn settle(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for task in late {
            task.await.unwrap();
        }
    }

    fn fault(&self) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.plan.filter(|(at, _)| *at == call).map(|(_, fault)| fault)
    }

    async fn call<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.with(self.fault(), work).await
    }

    async fn with<T: Send + 'static>(
        &self,
        fault: Option<Fault>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        // Every call lets others on, so that what is late can arrive between any two.
        tokio::task::yield_now().await;
        match fault {
            None => work.await,
            Some(Fault::Fails) => Err(lost()),
            Some(Fault::Slow) => {
                after(40).await;
                work.await
            }
            Some(Fault::AnswerLost) => {
                drop(work.await);
                Err(lost())
            }
            Some(Fault::Late(calls)) => {
                let task = tokio::spawn(async move {
                    after(calls).await;
                    drop(work.await);
                });
                self.late.lock().unwrap().push(task);
                Err(lost())
            }
        }
    }
}

async fn create(
    inner: Arc<InMemory>,
    how: Creation,
    call: u64,
    location: Path,
    payload: PutPayload,
    opts: PutOptions,
) -> Result<PutResult> {
    let taken = |why: &str| {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, why.to_owned()).into();
        Err(object_store::Error::AlreadyExists { path: location.to_string(), source })
    };
    let anyway = PutOptions { mode: PutMode::Overwrite, ..opts.clone() };
    match how {
        Creation::Exclusive => inner.put_opts(&location, payload, opts).await,
        Creation::Overwrites => inner.put_opts(&location, payload, anyway).await,
        Creation::NeverLets => taken("412 Precondition Failed"),
        Creation::Forbidden => {
            let source = io::Error::from(io::ErrorKind::PermissionDenied).into();
            Err(object_store::Error::PermissionDenied { path: location.to_string(), source })
        }
        Creation::Meets if call < 2 => taken("status code: 409 Conflict: "),
        Creation::Meets => inner.put_opts(&location, payload, opts).await,
        Creation::ChecksThenWrites => {
            let there = inner.head(&location).await.is_ok();
            tokio::task::yield_now().await;
            if there { taken("412 Precondition Failed") } else { inner.put_opts(&location, payload, anyway).await }
        }
    }
}

async fn after(calls: u32) {
    for _ in 0..calls {
        tokio::task::yield_now().await;
    }
}

fn lost() -> object_store::Error {
    let source = io::Error::new(io::ErrorKind::TimedOut, "as planned").into();
    object_store::Error::Generic { store: "Faulty", source }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (inner, location, how, calls) = (Arc::clone(&self.inner), location.clone(), self.creation, self.calls());
        match opts.mode {
            PutMode::Create => self.call(create(inner, how, calls, location, payload, opts)).await,
            _ => self.call(async move { inner.put_opts(&location, payload, opts).await }).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (inner, location) = (Arc::clone(&self.inner), location.clone());
        let upload = self.call(async move { inner.put_multipart_opts(&location, opts).await }).await?;
        Ok(Box::new(FaultyUpload { upload: Arc::new(tokio::sync::Mutex::new(upload)), store: self.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (inner, location) = (Arc::clone(&self.inner), location.clone());
        self.call(async move { inner.get_opts(&location, options).await }).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (inner, location, ranges) = (Arc::clone(&self.inner), location.clone(), ranges.to_vec());
        self.call(async move { inner.get_ranges(&location, &ranges).await }).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.and_then(move |location| {
            let (store, inner) = (store.clone(), Arc::clone(&store.inner));
            async move {
                let path = location.clone();
                store.call(async move { inner.delete(&path).await }).await?;
                Ok(location)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, listed) = (self.clone(), self.inner.list(prefix));
        let all = async move { store.call(listed.try_collect::<Vec<_>>()).await };
        let flat = all.map(|all| match all {
            Ok(all) => futures::stream::iter(all).map(Ok).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        });
        flat.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        self.call(async move { inner.list_with_delimiter(prefix.as_ref()).await }).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("the repo copies nothing")
    }
}

#[derive(Debug)]
struct FaultyUpload {
    upload: Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
    store: Faulty,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    /// The place of the part is taken now, whatever becomes of it.
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let sent = self.upload.try_lock().unwrap().put_part(data);
        let (store, fault) = (self.store.clone(), self.store.fault());
        async move { store.with(fault, sent).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let upload = Arc::clone(&self.upload);
        self.store.call(async move { upload.lock().await.complete().await }).await
    }

    async fn abort(&mut self) -> Result<()> {
        let upload = Arc::clone(&self.upload);
        self.store.call(async move { upload.lock().await.abort().await }).await
    }
}
