//! `dispatch`: another chain of handlers for each group.
//!
//! ```yaml
//! - type: dispatch
//!   groupBy: [host]
//!   nodes:
//!     - {type: plugin, plugin: smooth}
//!   evictAfter: 1h
//! ```

mod members;
mod outcome;
mod recency;

use std::{collections::BTreeMap, time::Duration};

use arrow::{
    array::{Array as _, ArrayRef, Int64Array, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::DataType,
    row::Rows,
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Part, Period};

use self::{
    members::Members,
    outcome::Outcome,
    recency::{Key, Recency},
};
use crate::{
    Builder, Error, EventTime, Handled, Handler, NodeSpec, Shape, Source, SourceEvent, TimeSpec, Unit, groups,
    spec::{Gap, HandlerSpec, Parts},
};

/// Runs a chain of handlers for each group of rows, so that each group has a state of its own.
///
/// Rows keep their order. A group that was idle for `evictAfter` of event time, or that makes room for another in `keep`, is
/// finished: what its handlers hold back comes out, and if it returns, it starts afresh. Both depend on the rows before;
/// with several partitions and no handler before it that merges them, their order is chance.
///
/// A handler within that waits for event time, such as `window`, sees only the rows of its group: it waits for every
/// partition until that brings a row of the group, is idle or ends. Its own `groupBy`, without `dispatch`, does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DispatchSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The columns that define groups, as in `[host]`, besides those of `group` handlers before it.
    #[serde(alias = "group_by")]
    pub group_by: Vec<String>,
    /// The handlers of each group, in order.
    pub nodes: Vec<NodeSpec>,
    /// How long, in event time, a group may have no rows before it is finished, as in `1h`. Without it, groups stay.
    #[serde(default, alias = "evict_after")]
    pub evict_after: Option<Period>,
    /// How many groups are kept, as in `1000`: one more finishes the group whose last row is the oldest.
    #[serde(default)]
    pub keep: Option<usize>,
    /// How much it may hold, as in `{groups: 1000000}`.
    #[serde(default)]
    pub limits: DispatchLimits,
}

#[async_trait]
impl HandlerSpec for DispatchSpec {
    fn describe(&self) -> String {
        let within: Vec<String> = self.nodes.iter().map(NodeSpec::describe).collect();
        format!("for each {}, {}", self.group_by.join(", "), within.join(", then "))
    }

    fn gap(&self) -> Option<Gap> {
        let chain = Gap::within("nodes", self.nodes.is_empty(), "name the handlers of each group");
        chain.or_else(|| Gap::within("groupBy", self.group_by.is_empty(), "name a column"))
    }

    fn stateful(&self) -> bool {
        self.nodes.iter().any(NodeSpec::stateful)
    }

    fn within(&self) -> &[NodeSpec] {
        &self.nodes
    }

    fn within_mut(&mut self) -> &mut [NodeSpec] {
        &mut self.nodes
    }

    async fn open(&self, builder: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Dispatch::open(self, builder).await?))
    }
}

/// What a `dispatch` may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DispatchLimits {
    /// Groups, each with handlers of its own.
    pub groups: usize,
}

impl Default for DispatchLimits {
    fn default() -> Self {
        Self { groups: 10_000 }
    }
}

/// A running `dispatch`.
#[derive(Debug)]
struct Dispatch {
    spec: DispatchSpec,
    /// The columns that define a group, outer ones first.
    columns: Vec<String>,
    unit: Unit,
    time: Option<EventTime>,
    members: Members,
    recency: Recency,
}

impl Dispatch {
    /// A dispatch as `spec` says; `builder` makes the chains.
    ///
    /// # Errors
    /// A handler of the chain that cannot be opened.
    async fn open(spec: &DispatchSpec, builder: &Builder) -> Result<Self, Error> {
        Ok(Self {
            columns: spec.group_by.clone(),
            unit: Unit::Piece,
            time: None,
            members: Members::open(&spec.id, &spec.nodes, builder).await?,
            recency: Recency::new(spec.evict_after, spec.keep),
            spec: spec.clone(),
        })
    }

    /// The groups of the rows, as bytes that sort as the values do.
    fn keys(&self, batch: &RecordBatch) -> Result<Rows, Error> {
        groups::check(&self.spec.id, batch.schema_ref(), &self.columns)?;
        let columns: Vec<ArrayRef> =
            self.columns.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect();
        groups::rows(&columns).map_err(Error::kernel(&self.spec.id, batch.num_rows()))
    }

    /// Event times, where groups go by them.
    fn times(&self, batch: &RecordBatch) -> Result<Option<Int64Array>, Error> {
        self.time.as_ref().map(|time| time.of(batch)).transpose()
    }

    /// Whether rows that were passed group by group can be put in order afterwards.
    fn together(&self) -> bool {
        self.unit == Unit::Piece && self.spec.nodes.iter().all(|node| node.spec().row_by_row())
    }

    /// Passes the rows of `batch` to their groups, of which none goes: what is passed are slices.
    async fn pass_all(&mut self, batch: &RecordBatch, from: Source) -> Result<Handled, Error> {
        let (keys, piece) = (self.keys(batch)?, self.unit == Unit::Piece);
        let parts = if self.together() || !piece {
            groups::split(batch, &self.columns).map_err(Error::kernel(&self.spec.id, batch.num_rows()))?
        } else {
            runs(batch, &keys)
        };
        let (mut outcome, mut passed) = (Outcome::default(), 0);
        for (part, rows) in parts {
            let (Some(&first), Some(&last)) = (rows.values().first(), rows.values().last()) else { continue };
            passed += rows.len() as i64;
            let key: Key = keys.row(first as usize).as_ref().into();
            self.recency.counted_as(&key, if piece { i64::from(last) + 1 } else { passed });
            self.pass_part(&key, part, from, &rows, &mut outcome).await?;
        }
        self.recency.count(batch.num_rows());
        self.settle(outcome, batch)
    }

    /// What came of all rows of a batch.
    fn settle(&self, mut outcome: Outcome, batch: &RecordBatch) -> Result<Handled, Error> {
        if self.unit != Unit::Piece {
            outcome.release();
        }
        outcome.settle().map_err(Error::kernel(&self.spec.id, batch.num_rows()))
    }

    /// Passes the rows of `batch` to their groups, some of which may go on the way.
    async fn pass(&mut self, batch: &RecordBatch, from: Source) -> Result<Handled, Error> {
        let keys = self.keys(batch)?;
        let times = self.times(batch)?;
        let together = self.together();
        let mut outcome = Outcome::default();
        let mut waiting: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
        for row in self.order(batch)? {
            let key: Key = keys.row(row as usize).as_ref().into();
            let time =
                times.as_ref().filter(|times| times.is_valid(row as usize)).map(|times| times.value(row as usize));
            let gone = self.recency.gone_before(&key, time);
            // Unless rows can be put in order afterwards, each run of one group goes by itself.
            let another = !together && !waiting.is_empty() && !waiting.contains_key(&key);
            if !gone.is_empty() || another {
                self.flush(batch, from, &mut waiting, &mut outcome).await?;
            }
            for gone in gone {
                self.evict(&gone, &mut outcome).await?;
            }
            match times {
                Some(_) => self.recency.took(&key, from, time),
                None => self.recency.counted(&key),
            }
            waiting.entry(key).or_default().push(row);
        }
        self.flush(batch, from, &mut waiting, &mut outcome).await?;
        self.settle(outcome, batch)
    }

    /// The rows in the order in which they are passed: as they are, and group by group where the batch is a whole.
    fn order(&self, batch: &RecordBatch) -> Result<Vec<u32>, Error> {
        if self.unit == Unit::Piece {
            return Ok((0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect());
        }
        let parts = groups::split(batch, &self.columns).map_err(Error::kernel(&self.spec.id, batch.num_rows()))?;
        Ok(parts.iter().flat_map(|(_, rows)| rows.values().to_vec()).collect())
    }

    /// Passes the rows that wait, group by group.
    async fn flush(
        &mut self,
        batch: &RecordBatch,
        from: Source,
        waiting: &mut BTreeMap<Key, Vec<u32>>,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        for (key, rows) in std::mem::take(waiting) {
            let beside = rows.windows(2).all(|two| two[0] + 1 == two[1]);
            let rows = UInt32Array::from(rows);
            let taken = match rows.values().first() {
                Some(&first) if beside => Ok(batch.slice(first as usize, rows.len())),
                _ => take_record_batch(batch, &rows),
            };
            let part = taken.map_err(Error::kernel(&self.spec.id, batch.num_rows()))?;
            self.pass_part(&key, part, from, &rows, outcome).await?;
        }
        Ok(())
    }

    /// Passes rows of one group to its chain; `rows` are their places in the batch.
    async fn pass_part(
        &mut self,
        key: &Key,
        part: RecordBatch,
        from: Source,
        rows: &UInt32Array,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let (member, before) = self.members.get_or_open(key, &self.columns, &part, self.spec.limits.groups).await?;
        outcome.add(before, &[]);
        let handled = member.chain.rows(part, from).await?;
        outcome.add(handled, rows.values());
        Ok(())
    }

    /// Finishes a group; what it held back, also for the commit, comes before the row at which it goes.
    async fn evict(&mut self, key: &Key, outcome: &mut Outcome) -> Result<(), Error> {
        if let Some(mut member) = self.members.remove(key) {
            outcome.add(member.chain.finish_within().await?, &[]);
            outcome.add(member.chain.on_event_within(SourceEvent::Cut).await?, &[]);
        }
        Ok(())
    }

    /// What the chains are given.
    fn inner(&self, input: &Shape) -> Shape {
        Shape { group: self.columns.clone(), ..input.clone() }
    }
}

#[async_trait]
impl Handler for Dispatch {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        self.columns = groups::nested(&input.group, &self.spec.group_by);
        self.unit = input.unit;
        if let Some(schema) = &input.schema {
            groups::check(&self.spec.id, schema, &self.columns)?;
        }
        self.time = match (&self.spec.evict_after, &input.time) {
            (None, _) => None,
            (Some(_), Some(time)) => Some(EventTime::new(&self.spec.id, &TimeSpec::settings(time))),
            (Some(_), None) => {
                return Err(Error::spec(
                    &self.spec.id,
                    "`evictAfter` needs an event time: name its column in the pipeline's `time`, or use `keep`",
                ));
            }
        };
        if let (Some(time), Some(schema)) = (&self.time, &input.schema) {
            time.check(schema)?;
        }
        if let Some(time) = &input.time {
            self.recency.allow(time.settings().lateness);
        }
        let inner = self.inner(input);
        let mut shape = self.members.shape(&inner)?;
        if let Some(schema) = &shape.schema {
            shape.group.retain(|column| schema.field_with_name(column).is_ok());
        }
        Ok(shape)
    }

    async fn prepare(&mut self, input: &Shape) -> Result<(), Error> {
        let group = groups::nested(&input.group, &self.spec.group_by);
        self.members.prepare(&Shape { group, ..input.clone() }).await
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        match batch.num_rows() {
            // No row has no group; what the chain would make of the columns is asked of the one that no group uses.
            0 => self.members.none(batch, from).await,
            _ if self.recency.stays() && whole(&batch, &self.columns) => self.pass_all(&batch, from).await,
            _ => self.pass(&batch, from).await,
        }
    }

    fn merges(&self) -> bool {
        self.members.merges()
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        // A source that has nothing holds no group back.
        self.recency.progress_mut().marks.on_event(event, Some(Duration::ZERO));
        let mut outcome = Outcome::default();
        for handled in self.members.on_event(event).await? {
            outcome.add(handled, &[]);
        }
        Ok(outcome.handled)
    }

    async fn finish(&mut self) -> Result<Handled, Error> {
        let mut outcome = Outcome::default();
        for handled in self.members.finish().await? {
            outcome.add(handled, &[]);
        }
        Ok(outcome.handled)
    }

    fn idle_after(&self) -> Option<Duration> {
        self.members.idle_after()
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        self.members.snapshot(&self.recency).await
    }

    async fn restore(&mut self, parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.members.restore(parts, &mut self.recency).await
    }

    fn config(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "groupBy": self.spec.group_by }))
    }
}

/// Whether rows of one key are those whose values are the same: both zeros are one key, and two values.
fn whole(batch: &RecordBatch, columns: &[String]) -> bool {
    columns.iter().filter_map(|name| batch.column_by_name(name)).all(|column| {
        let kind = column.data_type();
        !kind.is_floating() && !kind.is_nested() && !matches!(kind, DataType::Dictionary(..))
    })
}

/// Rows of one group that are beside each other, with their places.
fn runs(batch: &RecordBatch, keys: &Rows) -> Vec<(RecordBatch, UInt32Array)> {
    let mut runs = Vec::new();
    let mut start = 0;
    for row in 1..=batch.num_rows() {
        if row == batch.num_rows() || keys.row(row) != keys.row(start) {
            let places = start as u32..row as u32;
            runs.push((batch.slice(start, row - start), UInt32Array::from_iter_values(places)));
            start = row;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::cuts::{Trial, readings};

    fn trial(more: serde_json::Value, nodes: serde_json::Value, sources: &[RecordBatch]) -> Trial {
        let mut node = json!({"type": "dispatch", "groupBy": ["host"], "nodes": nodes});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Trial { time: Some(TimeSpec::Column("time".into())), ..Trial::new(json!([node]), sources) }
    }

    /// Handlers that make of rows what they would without groups.
    fn plain() -> serde_json::Value {
        json!([{"id": "f", "type": "filter", "where": "value > 5"},
            {"id": "m", "type": "map", "columns": {"double": "value * 2"}}])
    }

    /// A handler that looks at a whole commit.
    fn whole() -> serde_json::Value {
        json!([{"id": "q", "type": "sql", "per": "commit", "query": "select host, count(*) as c from input group by host"}])
    }

    #[tokio::test]
    async fn rows_keep_their_order_under_any_cut() {
        let rows = [readings(1, 60)];
        let dispatched = trial(json!({}), plain(), &rows).same_under_any_cut(15).await;
        assert_eq!(dispatched, Trial::new(plain(), &rows).same_under_any_cut(2).await);
    }

    #[tokio::test]
    async fn each_group_has_a_chain_of_its_own() {
        let sources = [readings(1, 40), readings(2, 40)];
        let counts = Trial { commits_count: true, ..trial(json!({}), whole(), &sources) };
        let rows = counts.same_under_any_cut(3).await.rows;
        assert_eq!(rows.len(), 8, "four groups in two commits: {rows:?}");
        assert!(rows[0].starts_with("host=null"), "nulls are a group, and come first: {rows:?}");
    }

    #[tokio::test]
    async fn groups_that_go_do_so_at_the_same_row_under_any_cut() {
        let rows = [readings(1, 80)];
        for more in [json!({"keep": 2}), json!({"evictAfter": "3s"}), json!({"keep": 1, "evictAfter": "5s"})] {
            trial(more.clone(), plain(), &rows).same_under_any_cut(10).await;
            // Of the rows that are held when a group goes, none is lost.
            let held = json!([{"id": "s", "type": "sort", "by": ["value"], "per": "commit"}]);
            let sorted = Trial { commits_count: true, ..trial(more, held, &rows) };
            assert_eq!(sorted.same_under_any_cut(10).await.rows.len(), 80);
        }
    }

    #[tokio::test]
    async fn too_many_groups_are_an_error_that_says_what_to_do() {
        let node = json!({"id": "d", "groupBy": ["n"], "nodes": plain(), "limits": {"groups": 3}});
        let spec: DispatchSpec = serde_json::from_value(node).unwrap();
        let mut dispatch = Dispatch::open(&spec, &Builder::default()).await.unwrap();
        let rows = readings(1, 10);
        let shape = Shape { schema: Some(rows.schema()), ..Shape::default() };
        let shape = dispatch.shape(&shape).unwrap();
        assert_eq!(shape.schema.unwrap().fields().len(), 5, "the chain is typed at start");
        let error = dispatch.handle(rows, Source::Merged).await.unwrap_err();
        assert!(error.to_string().contains("evictAfter"), "{error}");
        let idle = DispatchSpec { evict_after: Some(Period(std::time::Duration::from_secs(1))), ..spec };
        let mut dispatch = Dispatch::open(&idle, &Builder::default()).await.unwrap();
        assert!(dispatch.shape(&Shape::default()).unwrap_err().to_string().contains("the pipeline's `time`"));
    }
}
