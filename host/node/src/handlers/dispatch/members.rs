//! The chains of a `dispatch`, one a group, and their state in commits.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::concat,
    error::ArrowError,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use spout_data::Part;

use super::recency::{Key, Recency};
use crate::{
    Builder, Chain, Error, Handled, NodeSpec, Shape, Source, SourceEvent, States, groups,
    state::{decode, encode},
};

/// Part that holds what is said of all groups.
const ALL: &str = "_all";
/// Part of a group that holds its values.
const VALUES: &str = "_values";
/// Part of a group that holds when it was last seen.
const SEEN: &str = "_seen";

/// The chain of one group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) chain: Chain,
    /// What its parts are called by.
    name: String,
    /// Its values, as a batch of one row.
    values: Bytes,
    /// When it was last seen, as the last snapshot has it; nothing of a group that no snapshot has.
    saved: Option<i64>,
}

/// The chains of all groups.
#[derive(Debug)]
pub(super) struct Members {
    handler: String,
    nodes: Vec<NodeSpec>,
    builder: Builder,
    /// A chain that no row goes through: it says what the others will make of rows.
    template: Chain,
    input: Shape,
    all: BTreeMap<Key, Member>,
    /// What was last said of each source, for chains that start later.
    sources: BTreeMap<Source, SourceEvent>,
}

impl Members {
    pub(super) async fn open(handler: &str, nodes: &[NodeSpec], builder: &Builder) -> Result<Self, Error> {
        let (tasks, tables) = (builder.tasks.clone(), builder.tables.clone());
        let builder = Builder { tasks, tables, ..Builder::default() };
        Ok(Self {
            handler: handler.to_owned(),
            nodes: nodes.to_vec(),
            template: builder.chain(nodes, &mut States::new()).await?,
            builder,
            input: Shape::default(),
            all: BTreeMap::new(),
            sources: BTreeMap::new(),
        })
    }

    /// Asks the plugins of every chain what they make of rows of the shape `input`.
    pub(super) async fn prepare(&mut self, input: &Shape) -> Result<(), Error> {
        for member in self.all.values_mut() {
            member.chain.prepare(input).await?;
        }
        self.template.prepare(input).await
    }

    /// What every chain makes of rows of the shape `input`.
    pub(super) fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        self.input = input.clone();
        for member in self.all.values_mut() {
            member.chain.shape(input.clone())?;
        }
        self.template.shape(input.clone())
    }

    pub(super) fn merges(&self) -> bool {
        self.template.merges()
    }

    pub(super) fn idle_after(&self) -> Option<Duration> {
        self.template.idle_after()
    }

    /// What a batch without rows comes to.
    pub(super) async fn none(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        self.template.rows(batch, from).await
    }

    /// The chain of the group `key`, whose rows are `part`; a new one first gets the events so far.
    pub(super) async fn get_or_open(
        &mut self,
        key: &Key,
        columns: &[String],
        part: &RecordBatch,
        limit: usize,
    ) -> Result<(&mut Member, Handled), Error> {
        let groups = self.all.len();
        match self.all.entry(key.clone()) {
            Entry::Occupied(member) => Ok((member.into_mut(), Handled::default())),
            Entry::Vacant(_) if groups >= limit => Err(Error::Limit {
                handler: self.handler.clone(),
                held: format!("{} groups", groups + 1),
                limit: format!("{limit} groups"),
                remedy: "drop idle ones with `evictAfter` or `keep`, or raise `limits.groups`".into(),
            }),
            Entry::Vacant(place) => {
                let mut chain = self.builder.chain(&self.nodes, &mut States::new()).await?;
                chain.prepare(&self.input).await?;
                chain.shape(self.input.clone())?;
                let mut released = Handled::default();
                for (&source, &event) in &self.sources {
                    for event in [SourceEvent::Opened(source), event] {
                        add(&mut released, chain.on_event_within(event).await?);
                    }
                }
                let values = values(columns, part).map_err(Error::kernel(&self.handler, part.num_rows()))?;
                Ok((place.insert(Member { chain, name: name(key), values, saved: None }), released))
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Member> {
        self.all.remove(key)
    }

    /// What each group releases, in their order.
    pub(super) async fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Handled>, Error> {
        if let SourceEvent::Opened(source) | SourceEvent::Idle(source, _) | SourceEvent::Ended(source) = event {
            self.sources.insert(source, event);
        }
        let mut released = Vec::new();
        for member in self.all.values_mut() {
            released.push(member.chain.on_event_within(event).await?);
        }
        Ok(released)
    }

    /// What each group still holds back, in their order.
    pub(super) async fn finish(&mut self) -> Result<Vec<Handled>, Error> {
        let mut released = Vec::new();
        for member in self.all.values_mut() {
            released.push(member.chain.finish_within().await?);
        }
        Ok(released)
    }

    /// The parts of every group under its name, and what is said of all.
    pub(super) async fn snapshot(&mut self, recency: &Recency) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = BTreeMap::new();
        for (key, member) in &mut self.all {
            let name = &member.name;
            let seen = recency.rank(key);
            let values = if member.saved.is_some() { Part::Kept } else { Part::New(member.values.clone()) };
            parts.insert(format!("{name}/{VALUES}"), values);
            let kept = member.saved.replace(seen) == Some(seen);
            let seen = if kept { Part::Kept } else { Part::from(seen.to_string().into_bytes()) };
            parts.insert(format!("{name}/{SEEN}"), seen);
            let inner = member.chain.snapshot().await?;
            parts.extend(inner.into_iter().map(|(part, bytes)| (format!("{name}/{part}"), bytes)));
        }
        if !parts.is_empty() {
            let all = serde_json::to_vec(recency.progress()).map_err(|error| Error::state(&self.handler, error))?;
            parts.insert(ALL.to_owned(), Part::from(all));
        }
        Ok(parts)
    }

    pub(super) async fn restore(
        &mut self,
        mut parts: BTreeMap<String, Bytes>,
        recency: &mut Recency,
    ) -> Result<(), Error> {
        if let Some(all) = parts.remove(ALL) {
            recency.resume(serde_json::from_slice(&all).map_err(|error| Error::state(&self.handler, error))?);
        }
        let mut groups: BTreeMap<String, States> = BTreeMap::new();
        for (name, bytes) in parts {
            let (group, part) =
                name.split_once('/').ok_or_else(|| Error::state(&self.handler, format!("a part `{name}`")))?;
            groups.entry(group.to_owned()).or_default().insert(part.to_owned(), bytes);
        }
        for (name, mut states) in groups {
            let values = states
                .remove(VALUES)
                .ok_or_else(|| Error::state(&self.handler, format!("group {name} has no values")))?;
            let key = key(&values).map_err(|error| Error::state(&self.handler, error))?;
            let seen = states.remove(SEEN).and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
            let seen: i64 = seen.ok_or_else(|| Error::state(&self.handler, format!("group {name} was never seen")))?;
            recency.set(&key, seen);
            let chain = self.builder.chain(&self.nodes, &mut states).await?;
            self.builder.nothing_left(&states)?;
            self.all.insert(key, Member { chain, name, values, saved: Some(seen) });
        }
        Ok(())
    }
}

fn add(to: &mut Handled, more: Handled) {
    to.outputs.extend(more.outputs);
    to.faults.extend(more.faults);
    to.late_rows += more.late_rows;
    to.filtered += more.filtered;
    to.late.extend(more.late);
    to.refused.extend(more.refused);
}

/// A name for the parts of a group: short, whatever its values are.
fn name(key: &Key) -> String {
    Sha256::digest(key).iter().take(16).fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
}

/// The values of the group that `part` is of, as Arrow IPC.
fn values(columns: &[String], part: &RecordBatch) -> Result<Bytes, ArrowError> {
    let columns = columns.iter().filter_map(|name| {
        // A copy, so that a batch is not kept in memory for one row of it.
        let row = part.column_by_name(name)?.slice(0, 1);
        Some(concat(&[row.as_ref()]).map(|value| (name.as_str(), value, true)))
    });
    let columns: Vec<(&str, ArrayRef, bool)> = columns.collect::<Result<_, _>>()?;
    let values = RecordBatch::try_from_iter_with_nullable(columns)?;
    encode(&values)
}

/// The group whose values these are.
fn key(values: &Bytes) -> Result<Key, ArrowError> {
    let rows = groups::rows(decode(values.clone())?.columns())?;
    Ok(rows.row(0).as_ref().into())
}
