//! `derivative`: how fast columns change, by finite differences over the rows around each.

mod difference;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Float64Type, Schema},
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::{Part, Period};

use crate::{
    Builder, Error, EventTime, Handler, LimitsSpec, Shape, TimeSpec, columns,
    digest::{Digest, Digests},
    sequence::{Sequence, Steps},
    spec::{HandlerSpec, Parts},
    state::RowStore,
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

/// A row's time, and its value in each of the columns that are followed.
#[derive(Clone, Debug)]
struct Point {
    time: i64,
    values: Vec<Option<f64>>,
}

/// A row that is held.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: u64,
    time: i64,
    group: Digest,
}

/// A running `derivative`.
#[derive(Debug)]
struct Derivative {
    spec: DerivativeSpec,
    near: i64,
    digests: Digests,
    time: Option<EventTime>,
    store: RowStore,
    points: HashMap<Digest, VecDeque<Point>>,
    /// Rows that have not come out, and those that have and that others still need.
    waiting: VecDeque<Row>,
    needed: VecDeque<Row>,
}

impl Derivative {
    /// A derivative as `spec` says.
    fn handler(spec: &DerivativeSpec) -> impl Handler + use<> {
        let steps = Self {
            spec: spec.clone(),
            near: nanoseconds(spec.neighbourhood),
            digests: Digests::over(&spec.id, &spec.group_by),
            time: None,
            store: RowStore::new(&spec.id, "rows"),
            points: HashMap::new(),
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

    /// The rows of a batch as points, in its order.
    fn read(&self, rows: &RecordBatch, times: &[i64]) -> Result<Vec<(Digest, Point)>, Error> {
        let column = |derived: &Derived| {
            let at = columns::number(&self.spec.id, rows.schema_ref(), &derived.column)?;
            let values =
                cast(rows.column(at), &DataType::Float64).map_err(Error::kernel(&self.spec.id, rows.num_rows()))?;
            Ok(values.as_primitive::<Float64Type>().clone())
        };
        let values: Vec<Float64Array> = self.spec.columns.values().map(column).collect::<Result<_, Error>>()?;
        let value = |values: &Float64Array, row: usize| {
            values.is_valid(row).then(|| values.value(row)).filter(|value| value.is_finite())
        };
        let point = |(row, (group, &time)): (usize, (Digest, &i64))| {
            (group, Point { time, values: values.iter().map(|values| value(values, row)).collect() })
        };
        Ok(self.digests.of(rows)?.into_iter().zip(times).enumerate().map(point).collect())
    }

    /// The derivatives at a row, one for each new column.
    fn at(&self, row: Row) -> Vec<Option<f64>> {
        let unit = nanoseconds(self.spec.unit) as f64;
        let points = self.points.get(&row.group);
        let around = |point: &&Point| point.time.abs_diff(row.time) <= self.near.unsigned_abs();
        let around: Vec<&Point> = points.into_iter().flatten().filter(around).collect();
        let derive = |(index, derived): (usize, &Derived)| {
            let mut near: Vec<(i64, f64)> = Vec::with_capacity(around.len());
            for same in around.chunk_by(|a, b| a.time == b.time) {
                let values: Vec<f64> = same.iter().filter_map(|point| point.values[index]).collect();
                if !values.is_empty() {
                    near.push((same[0].time - row.time, values.iter().sum::<f64>() / values.len() as f64));
                }
            }
            near.sort_by_key(|(distance, _)| (distance.unsigned_abs(), *distance));
            near.truncate(self.spec.points as usize);
            let near: Vec<(f64, f64)> =
                near.into_iter().map(|(distance, value)| (distance as f64 / unit, value)).collect();
            difference::derivative(&near, derived.order as usize)
        };
        self.spec.columns.values().enumerate().map(derive).collect()
    }

    /// Rows with their new columns.
    fn extended(&self, rows: &RecordBatch, values: &[Vec<Option<f64>>]) -> Result<RecordBatch, Error> {
        let columns = (0..self.spec.columns.len()).map(|index| {
            let column: Float64Array = values.iter().map(|values| values[index]).collect();
            Arc::new(column) as ArrayRef
        });
        let columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain(columns).collect();
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

    /// Lets go of rows and points that nothing to come is near to.
    fn forget(&mut self, before: i64) {
        while let Some(row) = self.needed.front().copied().filter(|row| row.time < before) {
            self.needed.pop_front();
            self.store.remove(row.id);
            if let Some(points) = self.points.get_mut(&row.group) {
                points.pop_front();
                if points.is_empty() {
                    self.points.remove(&row.group);
                }
            }
        }
    }
}

impl Steps for Derivative {
    fn shape(&mut self, input: &Shape, time: &EventTime, group: &[String]) -> Result<Shape, Error> {
        self.check()?;
        self.time = Some(time.clone());
        self.digests = Digests::over(&self.spec.id, group);
        let schema = input.schema.as_ref().map(|schema| self.output(schema).map(Arc::new)).transpose()?;
        Ok(Shape { schema, group: group.to_vec(), ..input.clone() })
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let points = self.read(rows, times)?;
        let first = self.store.push(rows.clone());
        let mut derived = Vec::new();
        for (id, (group, point)) in (first..).zip(points) {
            let row = Row { id, time: point.time, group };
            self.points.entry(group).or_default().push_back(point);
            if self.spec.no_wait {
                derived.push(self.at(row));
                self.needed.push_back(row);
            } else {
                self.waiting.push_back(row);
            }
        }
        if self.spec.no_wait {
            out.push(self.extended(rows, &derived)?);
        }
        Ok(())
    }

    fn reached(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let mut ids = Vec::new();
        let mut derived = Vec::new();
        while let Some(row) = self.waiting.front().copied()
            && (row.time.saturating_add(self.near) < time || time == i64::MAX)
        {
            derived.push(self.at(row));
            ids.push(row.id);
            self.waiting.pop_front();
            self.needed.push_back(row);
            self.store.mark(row.id);
        }
        let mut derived = derived.as_slice();
        for rows in self.store.take(&ids)? {
            let (these, rest) = derived.split_at(rows.num_rows());
            derived = rest;
            out.push(self.extended(&rows, these)?);
        }
        let reach = if self.spec.no_wait { self.near } else { self.near.saturating_mul(2) };
        self.forget(if time == i64::MAX { time } else { time.saturating_sub(reach) });
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        let points = self.store.rows() * (size_of::<Point>() + self.spec.columns.len() * size_of::<Option<f64>>());
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
            for (id, (group, point)) in ids.into_iter().zip(self.read(&rows, &times)?) {
                let row = Row { id, time: point.time, group };
                let out = self.spec.no_wait || self.store.marked(id);
                if out {
                    self.needed.push_back(row)
                } else {
                    self.waiting.push_back(row)
                }
                self.points.entry(group).or_default().push_back(point);
            }
        }
        Ok(())
    }

    fn config(&self) -> Value {
        json!({"groupBy": self.spec.group_by, "noWait": self.spec.no_wait, "neighbourhood": self.spec.neighbourhood})
    }
}
