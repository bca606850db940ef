//! A store that counts the bytes read from data objects.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
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

/// What records and listings cost is not counted.
#[derive(Debug, Default)]
pub(super) struct Counting {
    inner: InMemory,
    bytes: AtomicU64,
}

impl Counting {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Bytes since this was last asked.
    pub(super) fn taken(&self) -> u64 {
        self.bytes.swap(0, Ordering::SeqCst)
    }

    /// Puts other bytes in the place of a data object's.
    pub(super) async fn alter(&self, change: impl Fn(&mut Vec<u8>)) {
        use futures::TryStreamExt as _;
        use object_store::ObjectStoreExt as _;
        let all: Vec<_> = self.inner.list(None).try_collect().await.unwrap();
        for object in all.into_iter().filter(|object| is_data(&object.location)) {
            let mut bytes = self.inner.get(&object.location).await.unwrap().bytes().await.unwrap().to_vec();
            change(&mut bytes);
            self.inner.put(&object.location, bytes.into()).await.unwrap();
        }
    }
}

fn is_data(path: &Path) -> bool {
    !path.as_ref().ends_with(".json")
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let result = self.inner.get_opts(location, options).await?;
        if !head && is_data(location) {
            self.bytes.fetch_add(result.range.end - result.range.start, Ordering::SeqCst);
        }
        Ok(result)
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        unreachable!("ranges are read one by one")
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
