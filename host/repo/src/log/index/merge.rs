//! Layers and segments read together in the order of keys, and segments merged into fewer.

use std::collections::BTreeMap;

use super::{Layer, Segment, Segments, Value, segment::Run};
use crate::error::Error;

/// So many segments of like size become one.
const FAN: usize = 4;
/// Entries of the smallest size class.
const SMALLEST: u64 = if cfg!(test) { 8 } else { 256 };

/// A cursor over the live entries of an index.
#[derive(Debug)]
pub(crate) struct Scan<'a, V: Value> {
    prefix: String,
    /// No entry before it comes out.
    from: String,
    segments: &'a Segments<V>,
    /// Oldest first.
    sources: Vec<Source<'a, V>>,
    /// Entries that do not exist any more come out too: they still hide older ones elsewhere.
    with_gone: bool,
}

#[derive(Debug)]
enum Source<'a, V: Value> {
    Layer(std::iter::Peekable<std::collections::btree_map::Range<'a, String, V>>),
    Segment(Cursor<'a, V>),
}

/// A place in a segment.
#[derive(Debug)]
struct Cursor<'a, V> {
    segment: &'a Segment,
    started: bool,
    number: usize,
    page: Option<std::sync::Arc<Vec<(String, V)>>>,
    at: usize,
}

impl<V: Value> Cursor<'_, V> {
    /// The entry at the cursor.
    async fn peek(&mut self, segments: &Segments<V>, from: &str) -> Result<Option<&(String, V)>, Error> {
        if !self.started {
            self.started = true;
            self.number = segments.page_of(self.segment, from).await?.unwrap_or(0);
            self.page = segments.page(self.segment, self.number).await?;
            self.at = self.page.as_ref().map_or(0, |page| page.partition_point(|(key, _)| key.as_str() < from));
        }
        while self.page.as_ref().is_some_and(|page| self.at >= page.len()) {
            self.number += 1;
            self.page = segments.page(self.segment, self.number).await?;
            self.at = 0;
        }
        Ok(self.page.as_ref().and_then(|page| page.get(self.at)))
    }
}

impl<'a, V: Value> Scan<'a, V> {
    pub(super) fn new(layers: impl Iterator<Item = &'a Layer<V>>, segments: &'a Segments<V>, prefix: &str) -> Self {
        Self::starting(layers, segments, prefix, prefix)
    }

    /// As `new`, of the entries at `from` and behind it.
    pub(super) fn starting(
        layers: impl Iterator<Item = &'a Layer<V>>,
        segments: &'a Segments<V>,
        prefix: &str,
        from: &str,
    ) -> Self {
        let from = prefix.max(from).to_owned();
        let of_segments = segments.list().iter().map(Source::at_start);
        let of_layers = layers.map(|layer| Source::Layer(layer.range(from.clone()..).peekable()));
        let sources = of_segments.chain(of_layers).collect();
        Self { prefix: prefix.to_owned(), from, segments, sources, with_gone: false }
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, V)>, Error> {
        loop {
            let Some((key, value)) = self.step().await? else { return Ok(None) };
            if self.with_gone || value.is_live() {
                return Ok(Some((key, value)));
            }
        }
    }

    async fn step(&mut self) -> Result<Option<(String, V)>, Error> {
        let mut least: Option<String> = None;
        for source in &mut self.sources {
            let key = source.key(self.segments, &self.from).await?;
            if let Some(key) = key.filter(|key| least.as_deref().is_none_or(|least| *key < least)) {
                least = Some(key.to_owned());
            }
        }
        let Some(key) = least.filter(|key| key.starts_with(&self.prefix)) else { return Ok(None) };
        let mut found: Option<V> = None;
        for source in &mut self.sources {
            let Some(value) = source.take(&key) else { continue };
            found = Some(match found {
                Some(older) if !value.stands_alone() => value.over(older),
                _ => value,
            });
        }
        Ok(found.map(|value| (key, value)))
    }
}

impl<'a, V: Value> Source<'a, V> {
    fn at_start(segment: &'a Segment) -> Self {
        Self::Segment(Cursor { segment, started: false, number: 0, page: None, at: 0 })
    }

    async fn key(&mut self, segments: &Segments<V>, from: &str) -> Result<Option<&str>, Error> {
        match self {
            Self::Layer(range) => Ok(range.peek().map(|(key, _)| key.as_str())),
            Self::Segment(cursor) => Ok(cursor.peek(segments, from).await?.map(|(key, _)| key.as_str())),
        }
    }

    /// The value at the cursor if it is of `key`; the cursor has been looked at before.
    fn take(&mut self, key: &str) -> Option<V> {
        match self {
            Self::Layer(range) => range.next_if(|(there, _)| there.as_str() == key).map(|(_, value)| value.clone()),
            Self::Segment(cursor) => {
                let (_, value) = cursor.page.as_ref()?.get(cursor.at).filter(|(there, _)| there == key)?;
                let value = value.clone();
                cursor.at += 1;
                Some(value)
            }
        }
    }
}

/// The segments of `segments` with `pending` on top, as few as they should be; at most one new one is written.
pub(crate) async fn merged<V: Value>(segments: &Segments<V>, pending: Option<Layer<V>>) -> Result<Vec<Segment>, Error> {
    let Some(pending) = pending else { return Ok(segments.list().to_vec()) };
    let kept = kept(segments.list(), pending.len() as u64);
    let together = segments.with(segments.list().iter().skip(kept).cloned().collect());
    let mut scan = Scan::new([&pending].into_iter(), &together, "");
    scan.with_gone = kept > 0;
    let mut run = Run::new();
    while let Some((key, value)) = scan.next().await? {
        run.push(key, value)?;
    }
    let mut list: Vec<_> = segments.list().iter().take(kept).cloned().collect();
    if !run.is_empty() {
        list.push(together.write(&mut run).await?);
    }
    Ok(list)
}

/// One segment with what `segments` and `pending` come to, and nothing that is gone.
pub(crate) async fn dense<V: Value>(segments: &Segments<V>, pending: Option<Layer<V>>) -> Result<Vec<Segment>, Error> {
    let pending = pending.unwrap_or_default();
    let mut scan = Scan::new([&pending].into_iter(), segments, "");
    let mut run = Run::new();
    while let Some((key, value)) = scan.next().await? {
        run.push(key, value)?;
    }
    Ok(if run.is_empty() { Vec::new() } else { vec![segments.write(&mut run).await?] })
}

/// How many of the oldest segments stay as they are when so many entries come on top.
fn kept(list: &[Segment], pending: u64) -> usize {
    let mut sizes: Vec<u64> = list.iter().map(|segment| segment.entries).chain([pending]).collect();
    while let Some(from) = alike(&sizes) {
        let sum = sizes.split_off(from).iter().sum();
        sizes.push(sum);
    }
    sizes.len() - 1
}

/// Where the newest runs begin that are of like size and enough to be merged.
fn alike(sizes: &[u64]) -> Option<usize> {
    let mut classes: BTreeMap<u32, usize> = BTreeMap::new();
    for (at, &entries) in sizes.iter().enumerate().rev() {
        let class = class(entries);
        // Whatever is smaller and newer is merged along.
        let smaller: usize = classes.range(..class).map(|(_, count)| count).sum();
        let here = classes.entry(class).or_default();
        *here += 1;
        if *here + usize::from(smaller > 0) >= FAN {
            return Some(at);
        }
    }
    None
}

fn class(entries: u64) -> u32 {
    (entries / SMALLEST).checked_ilog(FAN as u64).map_or(0, |log| log + 1)
}
