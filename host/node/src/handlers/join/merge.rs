//! The join of one stream: rows of one key fill each other's nulls.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::kernels::boolean::is_null,
    datatypes::SchemaRef,
};
use bytes::Bytes;
use serde_json::Value;
use spout_data::Part;

use super::{JoinKind, JoinSpec, On};
use crate::{
    Error, EventTime, RowFault, Shape, columns,
    digest::{Digest, Digests},
    expression::Expression,
    sequence::Steps,
    state::RowStore,
    time::nanoseconds,
};

/// A running join of one stream.
#[derive(Debug)]
pub(super) struct Merge {
    spec: JoinSpec,
    on: Vec<String>,
    tolerance: i64,
    side: Option<Expression>,
    time: Option<EventTime>,
    keys: Digests,
    /// The columns, and which of them are the same in rows that are merged.
    schema: Option<(SchemaRef, Vec<bool>)>,
    store: RowStore,
    /// Rows in the making, oldest first, and the number of the first of them.
    open: VecDeque<Open>,
    first: u64,
    /// Their numbers by key.
    by_key: HashMap<Digest, VecDeque<u64>>,
}

/// A row in the making.
#[derive(Debug)]
struct Open {
    time: i64,
    key: Option<Digest>,
    rows: Vec<u64>,
    /// The row that each column is taken from.
    from: Vec<Option<u64>>,
    sides: HashSet<Digest>,
}

/// A row to merge with others.
struct Next<'a> {
    id: u64,
    time: i64,
    /// None if the key has a null.
    key: Option<Digest>,
    side: Option<Digest>,
    /// For each column whether there is a value.
    filled: &'a dyn Fn(usize) -> bool,
}

impl Merge {
    pub(super) fn new(spec: &JoinSpec) -> Self {
        let on: Vec<String> = spec.on.pairs().into_iter().map(|(name, _)| name).collect();
        Self {
            spec: spec.clone(),
            tolerance: spec.tolerance.map_or(0, nanoseconds),
            side: spec.side.as_ref().map(|side| Expression::new(&spec.id, side)),
            time: None,
            keys: Digests::over(&spec.id, &on),
            on,
            schema: None,
            store: RowStore::new(&spec.id, "rows"),
            open: VecDeque::new(),
            first: 0,
            by_key: HashMap::new(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let spec = &self.spec;
        let wrong = if matches!(spec.on, On::Names(_)) {
            "`on` names columns of two sides; set `left` and `right`, or name the columns alone, as in `on: [host]`"
        } else if spec.kind == Some(JoinKind::Left) {
            "`kind: left` needs two sides; set `left` and `right`"
        } else if spec.within.is_some() {
            "`within` is for two sides; rows of one stream are merged within a `tolerance`"
        } else if spec.before.is_some() || spec.after.is_some() || spec.r#where.is_some() {
            "`before`, `after` and `where` need two sides; set `left` and `right`"
        } else {
            return Ok(());
        };
        Err(spec.refused(wrong))
    }

    /// Takes rows of another schema from here on.
    fn learn(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        let known = self.schema.as_ref().map(|(known, _)| Arc::clone(known));
        if known.as_ref() == Some(schema) {
            return Ok(());
        }
        self.on.iter().try_for_each(|name| columns::at(&self.spec.id, schema, name).map(drop))?;
        self.keys.check(schema)?;
        if let Some(side) = &mut self.side {
            side.data_type(schema)?;
        }
        let time = self.time.as_ref().map(EventTime::column);
        let shared = |name: &String| self.on.contains(name) || time == Some(name) || self.keys.has(name);
        let shared = schema.fields().iter().map(|field| shared(field.name())).collect();
        for open in &mut self.open {
            let old = |name: &String| known.as_ref().and_then(|known| known.index_of(name).ok());
            let from = schema.fields().iter().map(|field| old(field.name()).and_then(|at| open.from[at]));
            open.from = from.collect();
        }
        self.schema = Some((Arc::clone(schema), shared));
        Ok(())
    }

    /// Puts rows that are in the stock among those in the making.
    fn merge(&mut self, rows: &RecordBatch, ids: &[u64], times: &[i64]) -> Result<(), Error> {
        let keys = self.keys.of(rows)?;
        let sides = match &mut self.side {
            None => None,
            Some(side) => {
                let value = side.evaluate_each(rows)?;
                let one = RecordBatch::try_from_iter_with_nullable([("side", value, true)]);
                let one = one.map_err(Error::kernel(&self.spec.id, rows.num_rows()))?;
                Some(Digests::over_all(&self.spec.id, &[], "").of(&one)?)
            }
        };
        let null_keys = self.null_keys(rows)?;
        for (row, (&id, &time)) in ids.iter().zip(times).enumerate() {
            let filled = |column: usize| rows.column(column).is_valid(row);
            let key = (!null_keys[row]).then(|| keys[row]);
            self.put(&Next { id, time, key, side: sides.as_ref().map(|sides| sides[row]), filled: &filled });
        }
        Ok(())
    }

    /// For each row whether its key has a null.
    fn null_keys(&self, rows: &RecordBatch) -> Result<Vec<bool>, Error> {
        let mut null = vec![false; rows.num_rows()];
        for name in &self.on {
            let column = rows.column(columns::at(&self.spec.id, rows.schema_ref(), name)?);
            let mask = is_null(column).map_err(Error::kernel(&self.spec.id, rows.num_rows()))?;
            mask.values().set_indices().for_each(|row| null[row] = true);
        }
        Ok(null)
    }

    fn put(&mut self, next: &Next<'_>) {
        let shared = self.schema.as_ref().map_or(&[] as &[bool], |(_, shared)| shared);
        let (tolerance, first) = (self.tolerance, self.first);
        let fits = |open: &Open| {
            let free = |(column, from): (usize, &Option<u64>)| {
                shared.get(column) == Some(&true) || from.is_none() || !(next.filled)(column)
            };
            next.time.saturating_sub(open.time) <= tolerance
                && match &next.side {
                    Some(side) => !open.sides.contains(side),
                    None => open.from.iter().enumerate().all(free),
                }
        };
        let place = |number: &u64| usize::try_from(number - first).unwrap_or(usize::MAX);
        let numbers = next.key.and_then(|key| self.by_key.get(&key)).into_iter().flatten().map(place);
        let found = numbers.filter(|&at| self.open.get(at).is_some_and(fits)).min();
        if found.is_none() {
            if let Some(key) = next.key {
                self.by_key.entry(key).or_default().push_back(self.first + self.open.len() as u64);
            }
            let from = vec![None; shared.len()];
            let open = Open { time: next.time, key: next.key, rows: Vec::new(), from, sides: HashSet::new() };
            self.open.push_back(open);
        }
        if let Some(open) = self.open.get_mut(found.unwrap_or(self.open.len().saturating_sub(1))) {
            open.rows.push(next.id);
            open.sides.extend(next.side);
            for (column, from) in open.from.iter_mut().enumerate() {
                if from.is_none() && (next.filled)(column) {
                    *from = Some(next.id);
                }
            }
        }
    }

    /// Gives the rows that nothing more can be merged into before `time`.
    fn close(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let over = |open: &Open| open.time.saturating_add(self.tolerance) < time || time == i64::MAX;
        let count = self.open.iter().take_while(|open| over(open)).count();
        let closed: Vec<Open> = self.open.drain(..count).collect();
        self.first += count as u64;
        for key in closed.iter().filter_map(|open| open.key) {
            if let Some(numbers) = self.by_key.get_mut(&key) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        let alone = self.spec.kind != Some(JoinKind::Inner);
        let given: Vec<&Open> = closed.iter().filter(|open| alone || open.rows.len() > 1).collect();
        if let (Some((schema, _)), false) = (&self.schema, given.is_empty()) {
            let column = |index: usize| {
                let ids: Vec<Option<u64>> = given.iter().map(|open| open.from[index]).collect();
                self.store.column(&ids, schema.field(index))
            };
            let columns: Vec<ArrayRef> = (0..schema.fields().len()).map(column).collect::<Result<_, _>>()?;
            let rows = RecordBatch::try_new(Arc::clone(schema), columns);
            out.push(rows.map_err(Error::kernel(&self.spec.id, given.len()))?);
        }
        closed.iter().flat_map(|open| &open.rows).for_each(|&row| self.store.remove(row));
        Ok(())
    }
}

impl Steps for Merge {
    fn shape(&mut self, input: &Shape, time: &EventTime, group: &[String]) -> Result<Shape, Error> {
        self.check()?;
        self.time = Some(time.clone());
        self.keys.also(group);
        if let Some(schema) = input.schema.as_ref().filter(|_| self.open.is_empty()) {
            self.learn(schema)?;
        }
        Ok(input.clone())
    }

    fn faults(&mut self, rows: &RecordBatch) -> Result<Vec<RowFault>, Error> {
        self.side.as_mut().map_or_else(|| Ok(Vec::new()), |side| side.faults(rows))
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        // What is over by now has the columns of before, also where it is given only now.
        if let Some(&time) = times.first() {
            self.close(time, out)?;
        }
        self.learn(&rows.schema())?;
        let first = self.store.push(rows.clone());
        let ids: Vec<u64> = (first..first + times.len() as u64).collect();
        self.merge(rows, &ids, times)
    }

    fn reached(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        self.close(time, out)
    }

    fn held(&self) -> (usize, usize) {
        (self.store.rows(), self.store.bytes() + self.open.len() * size_of::<Open>())
    }

    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = BTreeMap::new();
        self.store.snapshot(&mut parts)?;
        Ok(parts)
    }

    /// The rows that are held are those of rows in the making: put together again, they make the same.
    fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.store.restore(&mut parts)?;
        for (ids, rows) in self.store.all()? {
            self.learn(&rows.schema())?;
            let times = self.time.as_ref().map(|time| time.of_held(&rows)).transpose()?.unwrap_or_default();
            self.merge(&rows, &ids, &times)?;
        }
        Ok(())
    }

    fn config(&self) -> Value {
        self.spec.config()
    }
}
