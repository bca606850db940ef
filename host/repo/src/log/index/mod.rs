//! A sorted map from text to values that lives in immutable objects, so that its cost does not grow with history.
//!
//! What changed since the newest checkpoint is in memory, in layers; everything older is in [`Segment`]s, sorted runs of
//! pages in objects, the newest last. A value may stand on older ones of its key ([`Value::over`]); a lookup goes from new
//! to old until one stands alone. Four segments of like size become one, so that there are few of them.
//!
//! **Invariant**: an index never changes an object; a checkpoint names all segments it needs.

mod merge;
mod segment;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use merge::{dense, merged};
pub(crate) use segment::{Segment, Segments};

use crate::error::Error;

/// What an index holds.
pub(crate) trait Value: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Whether older values of the key do not matter.
    fn stands_alone(&self) -> bool;

    /// This value with an older one of the same key below it.
    fn over(self, older: Self) -> Self;

    /// Whether the key is there at all.
    fn is_live(&self) -> bool;
}

/// Changes that are not in a segment yet.
pub(crate) type Layer<V> = BTreeMap<String, V>;

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Index<V: Value> {
    segments: Segments<V>,
    /// Oldest first; being written into a segment.
    frozen: Vec<Arc<Layer<V>>>,
    recent: Arc<Layer<V>>,
    /// Grows when the segments are exchanged for others.
    generation: u64,
}

impl<V: Value> Index<V> {
    pub(crate) fn new(segments: Segments<V>) -> Self {
        Self { segments, frozen: Vec::new(), recent: Arc::default(), generation: 0 }
    }

    /// The same with other segments and no changes on top.
    pub(crate) fn reset(&mut self, segments: Vec<Segment>) {
        let generation = self.generation + 1;
        *self = Self { generation, ..Self::new(self.segments.with(segments)) };
    }

    /// Takes a change in.
    pub(crate) fn put(&mut self, key: String, value: V) {
        let recent = Arc::make_mut(&mut self.recent);
        let value = match recent.remove(&key) {
            Some(older) if !value.stands_alone() => value.over(older),
            _ => value,
        };
        recent.insert(key, value);
    }

    fn layers(&self) -> impl DoubleEndedIterator<Item = &Arc<Layer<V>>> {
        self.frozen.iter().chain([&self.recent])
    }

    /// The value of `key`.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<V>, Error> {
        let mut found: Option<V> = None;
        for layer in self.layers().rev() {
            found = on_top(found, layer.get(key).cloned());
            if found.as_ref().is_some_and(V::stands_alone) {
                return Ok(found.filter(V::is_live));
            }
        }
        for segment in self.segments.newest_first() {
            found = on_top(found, self.segments.get(segment, key).await?);
            if found.as_ref().is_some_and(V::stands_alone) {
                break;
            }
        }
        Ok(found.filter(V::is_live))
    }

    /// The first live entry whose key starts with `prefix` and that `wanted` accepts.
    pub(crate) async fn first(
        &self,
        prefix: &str,
        wanted: impl Fn(&str, &V) -> bool,
    ) -> Result<Option<(String, V)>, Error> {
        let mut all = self.scan(prefix);
        while let Some((key, value)) = all.next().await? {
            if wanted(&key, &value) {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    /// The live entries whose keys start with `prefix`, in order.
    pub(crate) fn scan(&self, prefix: &str) -> merge::Scan<'_, V> {
        merge::Scan::new(self.layers().map(Arc::as_ref), &self.segments, prefix)
    }

    /// The same, of those at `from` and behind it.
    pub(crate) fn scan_from(&self, prefix: &str, from: &str) -> merge::Scan<'_, V> {
        merge::Scan::starting(self.layers().map(Arc::as_ref), &self.segments, prefix, from)
    }

    /// All live entries, in order: what a scan gives, without keeping pages for whoever looks again.
    pub(crate) async fn all(&self) -> Result<BTreeMap<String, V>, Error> {
        let mut all: BTreeMap<String, V> = BTreeMap::new();
        let lay = |all: &mut BTreeMap<String, V>, key: String, value: V| {
            let older = if value.stands_alone() { None } else { all.remove(&key) };
            all.insert(key, older.into_iter().fold(value, V::over));
        };
        for segment in self.segments.list() {
            let entries = self.segments.entries(segment).await?;
            if all.is_empty() {
                all = entries.into_iter().collect();
            } else {
                entries.into_iter().for_each(|(key, value)| lay(&mut all, key, value));
            }
        }
        for layer in self.layers() {
            layer.iter().for_each(|(key, value)| lay(&mut all, key.clone(), value.clone()));
        }
        all.retain(|_, value| value.is_live());
        Ok(all)
    }

    /// Everything in segments from here on: what a checkpoint writes down. `None` where nothing is above the segments.
    pub(crate) fn pending(&self) -> Option<Layer<V>> {
        let mut sum = Layer::new();
        for layer in self.layers() {
            for (key, value) in layer.iter() {
                let below = if value.stands_alone() { None } else { sum.remove(key) };
                let value = below.into_iter().fold(value.clone(), V::over);
                sum.insert(key.clone(), value);
            }
        }
        (!sum.is_empty()).then_some(sum)
    }

    /// Segments in the order of their age.
    pub(crate) fn segments(&self) -> &Segments<V> {
        &self.segments
    }

    /// Sets apart what a checkpoint is about to write; what comes later is kept above it.
    pub(crate) fn freeze(&mut self) {
        if !self.recent.is_empty() {
            self.frozen.push(std::mem::take(&mut self.recent));
        }
    }

    /// Which segments it stands on; see [`Index::install`].
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes over the segments of a checkpoint that was made from this index after [`Index::freeze`], unless it has been
    /// reset since.
    pub(crate) fn install(&mut self, segments: Vec<Segment>, generation: u64) {
        if self.generation != generation {
            return;
        }
        self.segments = self.segments.with(segments);
        self.frozen.clear();
    }
}

fn on_top<V: Value>(above: Option<V>, below: Option<V>) -> Option<V> {
    match (above, below) {
        (Some(above), Some(below)) => Some(above.over(below)),
        (above, below) => above.or(below),
    }
}

#[cfg(test)]
mod tests;
