//! The handlers of some buckets, or of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::Schema};
use spout_data::{Batch, Part};

use super::{BUCKETS, Keys, Shares, nothing};
use crate::{Builder, Chain, Error, NodeSpec, Shape, SourceEvent, States};

/// A chain of handlers for each of some buckets.
#[derive(Debug, Default)]
pub struct Buckets {
    chains: BTreeMap<u16, Chain>,
    /// All buckets, and how rows are split among them; known once it is known what flows in.
    keys: Option<Keys>,
}

/// Whether handlers behind the first of `nodes` take it that this one is split by key, if it says how ([`Chain::keys`]).
#[must_use]
pub fn split_by_key(nodes: &[NodeSpec]) -> bool {
    nodes.iter().skip(1).enumerate().all(|(at, node)| node.keeps_keys_apart(at == 0))
}

/// Whether state is that of buckets.
pub fn are_of_buckets<'a>(keys: impl IntoIterator<Item = &'a String>) -> bool {
    keys.into_iter().any(|key| key.split('/').nth(1).is_some_and(|name| name.starts_with('@')))
}

/// The bucket whose state a key of state is; none if it is that of all keys.
#[must_use]
pub fn bucket_of(key: &str) -> Option<u16> {
    let (of, bucket) = key.split('/').nth(1)?.strip_prefix('@')?.split_once('.')?;
    (of.parse() == Ok(BUCKETS)).then(|| bucket.parse().ok()).flatten()
}

/// What names of state have that is of `bucket`, as in `hosts/@16.03/rows`.
fn mark(bucket: u16) -> String {
    format!("@{BUCKETS}.{bucket:02}")
}

impl Builder {
    /// The chains of `nodes` for `buckets`, each made anew by `chain`; their states are taken out of `states`.
    ///
    /// # Errors
    /// As [`Builder::chain`].
    pub async fn buckets(
        &self,
        nodes: &[NodeSpec],
        buckets: impl IntoIterator<Item = u16>,
        states: &mut States,
        finish: impl Fn(Chain) -> Chain,
    ) -> Result<Buckets, Error> {
        let mut all = Buckets::default();
        for bucket in buckets {
            let mut own = states_of(bucket, states);
            all.chains.insert(bucket, finish(self.chain(nodes, &mut own).await?));
            states.extend(own);
        }
        Ok(all)
    }
}

/// Takes the states of a bucket out of those of all, by the names that they have where there is one bucket.
fn states_of(bucket: u16, states: &mut States) -> States {
    let marked = mark(bucket);
    let own = |key: &String| {
        let (handler, rest) = key.split_once('/')?;
        let rest = rest.strip_prefix(&marked)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (key.clone(), format!("{handler}{rest}")))
    };
    let names: Vec<(String, String)> = states.keys().filter_map(own).collect();
    names.into_iter().filter_map(|(key, name)| states.remove(&key).map(|bytes| (name, bytes))).collect()
}

impl Buckets {
    /// The buckets that are here.
    #[must_use]
    pub fn here(&self) -> BTreeSet<u16> {
        self.chains.keys().copied().collect()
    }

    /// Takes what `more` has.
    pub fn join(&mut self, more: Self) {
        self.chains.extend(more.chains);
        self.keys = self.keys.take().or(more.keys);
    }

    /// Keeps the buckets in `kept` only.
    pub fn keep(&mut self, kept: &BTreeSet<u16>) {
        self.chains.retain(|bucket, _| kept.contains(bucket));
    }

    /// What comes out when rows of the shape `input` go in.
    ///
    /// # Errors
    /// The first handler that such rows are not for.
    pub async fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let mut output = input.clone();
        for chain in self.chains.values_mut() {
            chain.prepare(input).await?;
            output = chain.shape(input.clone())?;
        }
        self.keys = self.chains.values().next().and_then(Chain::keys);
        Ok(output)
    }

    /// The shortest time after which a handler no longer waits for a source that has nothing.
    #[must_use]
    pub fn idle_after(&self) -> Option<Duration> {
        self.chains.values().filter_map(Chain::idle_after).min()
    }

    /// Passes a batch through the handlers of all buckets, which are all here; as [`Chain::handle`].
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn handle(&mut self, batch: Batch) -> Result<Vec<Batch>, Error> {
        let Some(keys) = &self.keys else {
            let reason = "its rows arrived before it was known how to split them; this is a bug in the host";
            return Err(Error::spec("the handlers of buckets", reason));
        };
        let all: Vec<u16> = (0..BUCKETS).collect();
        let (rest, shares) = keys.split(batch, &all)?;
        self.take_beside(&shares, rest).await
    }

    /// Passes the rows of the buckets that are here through their handlers. The last batch of the answer has no rows, and everything
    /// that was set aside and counted.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn take(&mut self, shares: &Shares) -> Result<Vec<Batch>, Error> {
        let rest = nothing(RecordBatch::new_empty(Arc::new(Schema::empty())), &shares.rows.span);
        self.take_beside(shares, rest).await
    }

    async fn take_beside(&mut self, shares: &Shares, mut rest: Batch) -> Result<Vec<Batch>, Error> {
        let mut batches = Vec::new();
        for (bucket, rows, beside) in shares.each() {
            // Where time counts, a bucket also has to know of batches that it has no row of.
            let concerned = rows.records.num_rows() > 0 || beside.is_some();
            let Some(chain) = self.chains.get_mut(&bucket).filter(|_| concerned) else { continue };
            for mut batch in chain.handle_beside(rows, beside).await? {
                rest.counts.add(&std::mem::take(&mut batch.counts));
                rest.dead.append(&mut batch.dead);
                rest.late.append(&mut batch.late);
                if batch.records.num_rows() > 0 {
                    batch.counts.made = Some(0);
                    batches.push(batch);
                }
            }
        }
        batches.push(rest);
        Ok(batches)
    }

    /// Passes an event to the handlers of all buckets; what they release.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Batch>, Error> {
        let mut released = Vec::new();
        for chain in self.chains.values_mut() {
            released.extend(chain.on_event(event).await?);
        }
        Ok(released)
    }

    /// The rows that handlers still hold back.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn finish(&mut self) -> Result<Vec<Batch>, Error> {
        let mut released = Vec::new();
        for chain in self.chains.values_mut() {
            released.extend(chain.finish().await?);
        }
        Ok(released)
    }

    /// The state of every handler of every bucket: `<handler>/<bucket>` or `<handler>/<bucket>/<part>`.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut states = BTreeMap::new();
        for (bucket, chain) in &mut self.chains {
            let marked = mark(*bucket);
            states.extend(chain.snapshot().await?.into_iter().map(|(key, part)| {
                let key = match key.split_once('/') {
                    Some((handler, name)) => format!("{handler}/{marked}/{name}"),
                    None => format!("{key}/{marked}"),
                };
                (key, part)
            }));
        }
        Ok(states)
    }
}
