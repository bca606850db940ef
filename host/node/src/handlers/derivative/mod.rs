//! `derivative`: how fast columns change, by finite differences over the rows around each.

mod difference;
#[cfg(test)]
mod tests;
mod track;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, RecordBatch, UInt32Array},
    compute::{cast, take_record_batch},
    datatypes::{DataType, Field, FieldRef, Float64Type, Schema},
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::{Part, Period};

use self::{
    difference::Weights,
    track::{Near, Track},
};
use crate::{
    Builder, Error, EventTime, Handler, LimitsSpec, Shape, TimeSpec,
    aggregates::{GroupIds, failed},
    columns,
    digest::{Digest, Digests},
    sequence::{Sequence, Steps},
    spec::{HandlerSpec, Parts},
    state::{RowStore, fields},
    time::nanoseconds,
};

/// Adds columns that say how fast others change over event time, for each group by itself.
///
/// Each is the derivative, at the row's time, of the curve through the rows of its group that are no further than
/// `neighbourhood` away, before and after. A row comes out when all of these are known; with `noWait`, at once, and only
/// those before it count. Where fewer than `order` + 1 of them have a value, the derivative is null. Rows of the same time
/// count as one, with their mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DerivativeSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The new columns by name, as in `{speed: {column: place}, force: {column: place, order: 2}}`; they are Float64.
    pub columns: BTreeMap<String, Derived>,
    /// What the change is counted by, as in `1m` for a change per minute.
    #[serde(default = "second")]
    pub unit: Period,
    /// How far away rows may be to count, as in `2s`.
    #[schemars(extend("x-also" = ["neighborhood"]))]
    pub neighbourhood: Period,
    /// Whether rows come out at once, so that only those before count.
    #[serde(default, alias = "no_wait")]
    pub no_wait: bool,
    /// How many of the nearest rows count at most, as in `5`: a curve through many points oscillates.
    #[serde(default = "nine")]
    pub points: u32,
    /// Columns to group by, each group with its own curve, as in `[host]`.
    #[serde(default, alias = "group_by")]
    pub group_by: Vec<String>,
    /// The event time, if it is not that of the pipeline.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// How much it may hold.
    #[serde(default)]
    pub limits: LimitsSpec,
}

#[async_trait]
impl HandlerSpec for DerivativeSpec {
    fn describe(&self) -> String {
        let each = self.columns.iter().map(|(name, derived)| format!("{name} from {}", derived.column));
        format!("derivatives {}, per {}", each.collect::<Vec<_>>().join(", "), self.unit)
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Derivative::handler(self)))
    }
}

/// What a new column is the derivative of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Derived {
    /// A column of numbers.
    pub column: String,
    /// Which derivative, as in `2` for the second.
    #[serde(default = "first")]
    pub order: u32,
}

fn second() -> Period {
    Period(std::time::Duration::from_secs(1))
}

fn nine() -> u32 {
    9
}

fn first() -> u32 {
    1
}

/// A row that is held.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: u64,
    time: i64,
    /// Where its group is, and the number of the row there.
    track: usize,
    number: u64,
}

/// A running `derivative`.
#[derive(Debug)]
struct Derivative {
    spec: DerivativeSpec,
    near: i64,
    group: Vec<String>,
    digests: Digests,
    time: Option<EventTime>,
    store: RowStore,
    /// The groups that have rows, by place; a place that is free is used again.
    tracks: Vec<Option<Track>>,
    free: Vec<usize>,
    places: HashMap<Digest, usize>,
    weights: Weights,
    nearest: Near,
    /// Rows that have not come out, and those that have and that others still need.
    waiting: VecDeque<Row>,
    needed: VecDeque<Row>,
}

/// The new columns of some rows.
type Columns = Vec<Vec<Option<f64>>>;

impl Derivative {
    /// A derivative as `spec` says.
    fn handler(spec: &DerivativeSpec) -> impl Handler + use<> {
        let steps = Self {
            spec: spec.clone(),
            near: nanoseconds(spec.neighbourhood),
            group: spec.group_by.clone(),
            digests: Digests::over(&spec.id, &spec.group_by),
            time: None,
            store: RowStore::new(&spec.id, "rows"),
            tracks: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            weights: Weights::per(nanoseconds(spec.unit)),
            nearest: Near::default(),
            waiting: VecDeque::new(),
            needed: VecDeque::new(),
        };
        Sequence::new(&spec.id, spec.time.as_ref(), &spec.group_by, spec.limits, steps)
    }

    fn check(&self) -> Result<(), Error> {
        let orders = || self.spec.columns.values().map(|derived| derived.order);
        let wrong = if self.spec.columns.is_empty() {
            "it adds nothing; set `columns`, as in `{speed: {column: place}}`".to_owned()
        } else if self.spec.unit.0.is_zero() || self.near == 0 {
            "`unit` and `neighbourhood` must be more than 0".to_owned()
        } else if orders().any(|order| order == 0) {
            "`order` must be at least 1".to_owned()
        } else if let Some(order) = orders().find(|order| *order >= self.spec.points) {
            format!("a derivative of order {order} needs more than {} `points`", self.spec.points)
        } else {
            return Ok(());
        };
        Err(Error::spec(&self.spec.id, wrong))
    }

    /// The values of a batch by column; NaN where there is none.
    fn values(&self, rows: &RecordBatch) -> Result<Vec<Vec<f64>>, Error> {
        let column = |derived: &Derived| {
            let at = columns::number(&self.spec.id, rows.schema_ref(), &derived.column)?;
            let values =
                cast(rows.column(at), &DataType::Float64).map_err(Error::kernel(&self.spec.id, rows.num_rows()))?;
            let values = values.as_primitive::<Float64Type>().iter();
            Ok(values.map(|value| value.filter(|value| value.is_finite()).unwrap_or(f64::NAN)).collect())
        };
        self.spec.columns.values().map(column).collect()
    }

    /// The digest of each row's group, and which of them it is.
    fn groups(&self, rows: &RecordBatch) -> Result<(Vec<Digest>, Vec<usize>), Error> {
        let count = rows.num_rows();
        if self.group.is_empty() {
            return Ok((self.digests.of(&rows.slice(0, count.min(1)))?, vec![0; count]));
        }
        let fields = fields(&self.spec.id, &self.group, rows.schema_ref())?;
        if fields.iter().any(|field| field.data_type().is_nested() || field.data_type().is_floating()) {
            return Ok((self.digests.of(rows)?, (0..count).collect()));
        }
        // Groups are far fewer than rows, and a digest takes longer than a look.
        let failed = |error| failed(&self.spec.id, error, count);
        let keys: Vec<ArrayRef> = self.group.iter().filter_map(|name| rows.column_by_name(name).cloned()).collect();
        let mut ids = GroupIds::over(&fields).map_err(failed)?;
        ids.of(&keys, count).map_err(failed)?;
        let mut firsts: Vec<u32> = Vec::with_capacity(ids.len());
        for (row, id) in (0..).zip(ids.last()) {
            if *id == firsts.len() {
                firsts.push(row);
            }
        }
        let firsts =
            take_record_batch(rows, &UInt32Array::from(firsts)).map_err(Error::kernel(&self.spec.id, count))?;
        Ok((self.digests.of(&firsts)?, ids.last().to_vec()))
    }

    /// Puts rows on the tracks of their groups, and does with each what is to be done.
    fn track(
        &mut self,
        rows: &RecordBatch,
        times: &[i64],
        ids: impl Iterator<Item = u64>,
        mut then: impl FnMut(&mut Self, Row),
    ) -> Result<(), Error> {
        let values = self.values(rows)?;
        let (digests, groups) = self.groups(rows)?;
        let tracks: Vec<usize> = digests.into_iter().map(|digest| self.place(digest)).collect();
        for (at, ((&time, id), group)) in times.iter().zip(ids).zip(groups).enumerate() {
            let Some(&track) = tracks.get(group) else { continue };
            let Some(Some(known)) = self.tracks.get_mut(track) else { continue };
            let number = known.push(time, values.iter().map(|column| column[at]));
            then(self, Row { id, time, track, number });
        }
        Ok(())
    }

    /// Where the group is.
    fn place(&mut self, group: Digest) -> usize {
        if let Some(&place) = self.places.get(&group) {
            return place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.tracks.push(None);
            self.tracks.len() - 1
        });
        self.tracks[place] = Some(Track::new(group, self.spec.columns.len()));
        self.places.insert(group, place);
        place
    }

    /// Adds the derivatives at a row to the new columns.
    fn derive(&mut self, row: Row, columns: &mut Columns) {
        let Some(Some(track)) = self.tracks.get(row.track) else { return };
        let (within, points) = (self.near.unsigned_abs(), self.spec.points as usize);
        for (index, (derived, column)) in self.spec.columns.values().zip(columns).enumerate() {
            track.nearest(row.number, within, points, index, &mut self.nearest);
            let Near { distances, values } = &self.nearest;
            let weights = self.weights.of(distances, derived.order);
            column.push(weights.map(|weights| weights.iter().zip(values).map(|(weight, value)| weight * value).sum()));
        }
    }

    fn none(&self) -> Columns {
        vec![Vec::new(); self.spec.columns.len()]
    }

    /// Rows with their new columns.
    fn extended(&self, rows: &RecordBatch, new: &Columns, from: usize) -> Result<RecordBatch, Error> {
        let upto = from + rows.num_rows();
        let new = new.iter().map(|column| {
            let column: Float64Array = column.get(from..upto).unwrap_or_default().iter().copied().collect();
            Arc::new(column) as ArrayRef
        });
        let columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain(new).collect();
        let schema = Arc::new(self.output(rows.schema_ref())?);
        RecordBatch::try_new(schema, columns).map_err(Error::kernel(&self.spec.id, rows.num_rows()))
    }

    fn output(&self, input: &Schema) -> Result<Schema, Error> {
        let mut fields: Vec<FieldRef> = input.fields().to_vec();
        for (name, derived) in &self.spec.columns {
            columns::number(&self.spec.id, input, &derived.column)?;
            columns::free(&self.spec.id, input, name)?;
            fields.push(Arc::new(Field::new(name, DataType::Float64, true)));
        }
        Ok(Schema::new_with_metadata(fields, input.metadata().clone()))
    }

    /// Lets go of rows that nothing to come is near to.
    fn forget(&mut self, before: i64) {
        while let Some(row) = self.needed.front().copied().filter(|row| row.time < before) {
            self.needed.pop_front();
            self.store.remove(row.id);
            let Some(place) = self.tracks.get_mut(row.track) else { continue };
            let Some(track) = place else { continue };
            track.pop();
            if track.is_empty() {
                self.places.remove(&track.group);
                *place = None;
                self.free.push(row.track);
            }
        }
    }
}

impl Steps for Derivative {
    fn shape(&mut self, input: &Shape, time: &EventTime, group: &[String]) -> Result<Shape, Error> {
        self.check()?;
        self.time = Some(time.clone());
        self.group = group.to_vec();
        self.digests = Digests::over(&self.spec.id, group);
        let schema = input.schema.as_ref().map(|schema| self.output(schema).map(Arc::new)).transpose()?;
        Ok(Shape { schema, group: group.to_vec(), ..input.clone() })
    }

    fn keys(&self, group: &[String]) -> Option<Digests> {
        Some(self.digests.clone()).filter(|_| !group.is_empty())
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let first = self.store.push(rows.clone());
        if !self.spec.no_wait {
            return self.track(rows, times, first.., |held, row| held.waiting.push_back(row));
        }
        let mut derived = self.none();
        self.track(rows, times, first.., |held, row| {
            held.derive(row, &mut derived);
            held.needed.push_back(row);
        })?;
        out.push(self.extended(rows, &derived, 0)?);
        Ok(())
    }

    fn reached(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let mut ids = Vec::new();
        let mut derived = self.none();
        while let Some(row) = self.waiting.front().copied()
            && (row.time.saturating_add(self.near) < time || time == i64::MAX)
        {
            self.derive(row, &mut derived);
            ids.push(row.id);
            self.waiting.pop_front();
            self.needed.push_back(row);
            self.store.mark(row.id);
        }
        let mut from = 0;
        for rows in self.store.take(&ids)? {
            out.push(self.extended(&rows, &derived, from)?);
            from += rows.num_rows();
        }
        let reach = if self.spec.no_wait { self.near } else { self.near.saturating_mul(2) };
        self.forget(if time == i64::MAX { time } else { time.saturating_sub(reach) });
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let points =
            self.store.rows() * (size_of::<Row>() + size_of::<i64>() + self.spec.columns.len() * size_of::<f64>());
        (self.store.rows(), self.store.bytes() + points)
    }

    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = BTreeMap::new();
        self.store.snapshot(&mut parts)?;
        Ok(parts)
    }

    fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.store.restore(&mut parts)?;
        for (ids, rows) in self.store.all()? {
            let times = self.time.as_ref().map(|time| time.of_held(&rows)).transpose()?.unwrap_or_default();
            self.track(&rows, &times, ids.into_iter(), |held, row| {
                if held.spec.no_wait || held.store.marked(row.id) {
                    held.needed.push_back(row)
                } else {
                    held.waiting.push_back(row)
                }
            })?;
        }
        Ok(())
    }

    fn config(&self) -> Value {
        json!({"groupBy": self.spec.group_by, "noWait": self.spec.no_wait, "neighbourhood": self.spec.neighbourhood})
    }
}
