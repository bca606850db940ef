//! One sorted run of entries in one object: pages of JSON, then a table of where each page is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use spout_base::clock;
use spout_format::sha256;

use super::Value;
use crate::{
    error::Error,
    layout::Layout,
    object::{Objects, Step},
    path::stored,
};

/// Entries of a page; a lookup reads one. Few in tests, so that they meet many.
const PAGE: usize = if cfg!(test) { 3 } else { 64 };
/// Bytes of pages that are read together where all of them are, and how many times that is on its way.
const TOGETHER: u64 = 256 << 10;
const AHEAD: usize = 4;
/// Pages kept in memory by one reader.
const CACHED: usize = 512;

/// Where a run of entries is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The object, named from the repo's root.
    #[serde(deserialize_with = "stored::object")]
    pub(crate) object: String,
    /// Bytes of the object.
    #[serde(deserialize_with = "stored::count")]
    pub(crate) size: u64,
    /// Entries in it.
    #[serde(deserialize_with = "stored::count")]
    pub(crate) entries: u64,
    /// Where the table of pages starts.
    #[serde(deserialize_with = "stored::count")]
    table: u64,
    /// What the table must hash to.
    sha256: String,
}

/// What is wrong with bytes that were exchanged.
const UNLIKE: &str = "its bytes do not match their hash";

/// A page as the table of pages knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageAt {
    first: String,
    #[serde(deserialize_with = "stored::count")]
    at: u64,
    #[serde(deserialize_with = "stored::count")]
    size: u64,
    sha256: String,
}

type Page<V> = Arc<Vec<(String, V)>>;

/// The segments of an index, with the pages that were read lately.
#[derive(Clone, Debug)]
pub(crate) struct Segments<V> {
    objects: Objects,
    layout: Layout,
    list: Arc<Vec<Segment>>,
    cache: Arc<Mutex<Cache<V>>>,
}

#[derive(Debug)]
struct Cache<V> {
    tables: HashMap<String, Arc<Vec<PageAt>>>,
    pages: HashMap<(String, usize), Page<V>>,
}

impl<V: Value> Segments<V> {
    pub(crate) fn new(objects: &Objects, layout: &Layout, list: Vec<Segment>) -> Self {
        let cache = Cache { tables: HashMap::new(), pages: HashMap::new() };
        Self { objects: objects.clone(), layout: layout.clone(), list: list.into(), cache: Arc::new(Mutex::new(cache)) }
    }

    pub(super) fn with(&self, list: Vec<Segment>) -> Self {
        Self { list: list.into(), ..self.clone() }
    }

    pub(crate) fn list(&self) -> &[Segment] {
        &self.list
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Segment> {
        self.list.iter().rev()
    }

    /// The value of `key` in one segment.
    pub(super) async fn get(&self, segment: &Segment, key: &str) -> Result<Option<V>, Error> {
        let Some(page) = self.page_of(segment, key).await? else { return Ok(None) };
        let page = self.page(segment, page).await?;
        let found = page.as_ref().and_then(|page| {
            let at = page.binary_search_by(|(there, _)| there.as_str().cmp(key)).ok()?;
            page.get(at)
        });
        Ok(found.map(|(_, value)| value.clone()))
    }

    /// The page that `key` is in if it is there, or would be in: the last that starts at or before it.
    pub(super) async fn page_of(&self, segment: &Segment, key: &str) -> Result<Option<usize>, Error> {
        let table = self.table(segment).await?;
        Ok(table.partition_point(|page| page.first.as_str() <= key).checked_sub(1))
    }

    /// A page; `None` after the last.
    pub(super) async fn page(&self, segment: &Segment, number: usize) -> Result<Option<Page<V>>, Error> {
        let key = (segment.object.clone(), number);
        if let Some(page) = self.cache().pages.get(&key) {
            return Ok(Some(Arc::clone(page)));
        }
        let table = self.table(segment).await?;
        let Some(place) = table.get(number) else { return Ok(None) };
        let bytes = self.read(segment, place.at, place.size, &place.sha256).await?;
        let page: Page<V> = Arc::new(serde_json::from_slice(&bytes).map_err(|source| self.damaged(segment, &source))?);
        let mut cache = self.cache();
        if cache.pages.len() >= CACHED {
            cache.pages.clear();
        }
        cache.pages.insert(key, Arc::clone(&page));
        Ok(Some(page))
    }

    /// All entries of a segment, in order. Its pages are not kept.
    pub(super) async fn entries(&self, segment: &Segment) -> Result<Vec<(String, V)>, Error> {
        let table = self.table(segment).await?;
        let runs = together(&table);
        // What is small is parsed here: a switch of threads takes longer.
        let apart = runs.len() > 1;
        let runs = stream::iter(runs).map(|pages| self.pages(segment, pages, apart)).buffered(AHEAD);
        let mut all = Vec::with_capacity(table.len() * PAGE);
        let mut runs = std::pin::pin!(runs);
        while let Some(mut entries) = runs.try_next().await? {
            all.append(&mut entries);
        }
        Ok(all)
    }

    /// The entries of pages that lie one behind the other; parsed `apart`, on a thread that may be kept busy.
    async fn pages(&self, segment: &Segment, pages: Vec<PageAt>, apart: bool) -> Result<Vec<(String, V)>, Error> {
        let (Some(first), Some(last)) = (pages.first(), pages.last()) else { return Ok(Vec::new()) };
        let (from, to) = (first.at, last.at.saturating_add(last.size));
        let bytes = self.objects.read_range(&self.layout.object(&segment.object), from..to).await?;
        let bytes = bytes.ok_or_else(|| self.damaged(segment, &"it is missing"))?;
        let parse = move || {
            let mut entries = Vec::with_capacity(pages.len() * PAGE);
            for page in pages {
                let own = usize::try_from(page.at - from).ok().zip(usize::try_from(page.size).ok());
                let own = own.and_then(|(at, size)| bytes.get(at..at.checked_add(size)?));
                let own = own.filter(|own| sha256(own) == page.sha256).ok_or(UNLIKE)?;
                entries.append(&mut serde_json::from_slice::<Vec<_>>(own).map_err(|source| source.to_string())?);
            }
            Ok::<_, String>(entries)
        };
        let parsed = if apart {
            tokio::task::spawn_blocking(parse).await.unwrap_or_else(|ended| Err(ended.to_string()))
        } else {
            parse()
        };
        parsed.map_err(|reason| self.damaged(segment, &reason))
    }

    async fn table(&self, segment: &Segment) -> Result<Arc<Vec<PageAt>>, Error> {
        if let Some(table) = self.cache().tables.get(&segment.object) {
            return Ok(Arc::clone(table));
        }
        let size = segment.size.saturating_sub(segment.table);
        let bytes = self.read(segment, segment.table, size, &segment.sha256).await?;
        let table: Arc<Vec<PageAt>> =
            Arc::new(serde_json::from_slice(&bytes).map_err(|source| self.damaged(segment, &source))?);
        self.cache().tables.insert(segment.object.clone(), Arc::clone(&table));
        Ok(table)
    }

    async fn read(&self, segment: &Segment, at: u64, size: u64, hash: &str) -> Result<Bytes, Error> {
        let path = self.layout.object(&segment.object);
        let bytes = self.objects.read_range(&path, at..at + size).await?;
        let bytes = bytes.ok_or_else(|| self.damaged(segment, &"it is missing"))?;
        if sha256(&bytes) == hash { Ok(bytes) } else { Err(self.damaged(segment, &UNLIKE)) }
    }

    fn damaged(&self, segment: &Segment, reason: &dyn ToString) -> Error {
        let object = self.objects.shown(&self.layout.object(&segment.object));
        Error::BadIndex { object, reason: reason.to_string() }
    }

    /// Nothing panics while it is held, so that a poisoned lock is as good as any.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache<V>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `entries`, which come in order, as one durable object.
    pub(crate) async fn write(&self, run: &mut Run<V>) -> Result<Segment, Error> {
        let (body, segment) = run.end().map_err(|source| Error::encode("JSON", source))?;
        self.objects.create_fresh(Step::Segment, &self.layout.object(&segment.object), body).await?;
        Ok(segment)
    }
}

/// The pages of a table, as many at a time as are read together.
fn together(table: &[PageAt]) -> Vec<Vec<PageAt>> {
    let mut runs: Vec<Vec<PageAt>> = Vec::new();
    let mut end = 0;
    for page in table {
        match runs.last_mut() {
            Some(run) if page.at >= end && run.first().is_some_and(|first| page.at - first.at < TOGETHER) => {
                run.push(page.clone());
            }
            _ => runs.push(vec![page.clone()]),
        }
        end = page.at.saturating_add(page.size);
    }
    runs
}

/// A segment being put together.
#[derive(Debug)]
pub(crate) struct Run<V> {
    body: BytesMut,
    page: Vec<(String, V)>,
    table: Vec<PageAt>,
    entries: u64,
}

impl<V: Value> Run<V> {
    pub(crate) fn new() -> Self {
        Self { body: BytesMut::new(), page: Vec::with_capacity(PAGE), table: Vec::new(), entries: 0 }
    }

    pub(crate) fn push(&mut self, key: String, value: V) -> Result<(), Error> {
        self.page.push((key, value));
        self.entries += 1;
        if self.page.len() < PAGE { Ok(()) } else { self.turn().map_err(|source| Error::encode("JSON", source)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn turn(&mut self) -> Result<(), serde_json::Error> {
        let Some((first, _)) = self.page.first() else { return Ok(()) };
        let bytes = serde_json::to_vec(&self.page)?;
        let (at, size) = (self.body.len() as u64, bytes.len() as u64);
        self.table.push(PageAt { first: first.clone(), at, size, sha256: sha256(&bytes) });
        self.body.extend_from_slice(&bytes);
        self.page.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<(Bytes, Segment), serde_json::Error> {
        self.turn()?;
        let table = serde_json::to_vec(&self.table)?;
        let at = self.body.len() as u64;
        self.body.extend_from_slice(&table);
        let segment = Segment {
            object: format!("index/{}.json", clock::nonce()),
            size: self.body.len() as u64,
            entries: self.entries,
            table: at,
            sha256: sha256(&table),
        };
        Ok((std::mem::take(&mut self.body).freeze(), segment))
    }
}
