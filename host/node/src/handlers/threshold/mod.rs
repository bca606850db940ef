//! `threshold`: a level that follows a column, rising and falling when values stay beyond it for a while.

mod levels;
mod machine;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Float64Type, Schema, SchemaRef},
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::{Part, Period};

use self::{levels::Levels, machine::Machine};
use crate::{
    Builder, Error, EventTime, Handler, LimitsSpec, Shape, TimeSpec, columns,
    digest::Digests,
    sequence::{Sequence, Steps},
    spec::{HandlerSpec, Parts, of_each},
    time::nanoseconds,
};

/// Adds a level that follows the column `watch` to every row, for each group by itself.
///
/// The level begins as `default`. When values stay above it for longer than `increase.after`, it is multiplied by
/// `increase.scale`; when they stay at or below `decrease.below` times the level for longer than `decrease.after`, by
/// `decrease.scale`. A value in between ends the wait. The row that changes the level already has the new one; a row whose
/// value is null has the current level. Rows are taken in order of event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThresholdSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The column of numbers to follow, as in `busy`.
    pub watch: String,
    /// Name of the new column, as in `level`; its type is Float64.
    pub r#as: String,
    /// The level before anything is known, as in `30`.
    pub default: f64,
    /// When and by how much the level rises, as in `{scale: 2, after: 5s}`; never if not given.
    #[serde(default)]
    pub increase: Option<Increase>,
    /// When and by how much it falls, as in `{below: 0.4, scale: 0.5, after: 5s}`; never if not given.
    #[serde(default)]
    pub decrease: Option<Decrease>,
    /// It never falls below this, as in `10`.
    #[serde(default)]
    pub min: Option<f64>,
    /// It never rises above this, as in `70`.
    #[serde(default)]
    pub max: Option<f64>,
    /// A group without a row for this long, as in `1d`, starts again at `default`; its level is not kept forever.
    #[serde(default)]
    pub forget_after: Option<Period>,
    /// Columns to group by, each group with its own level, as in `[host]`.
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
impl HandlerSpec for ThresholdSpec {
    fn describe(&self) -> String {
        let group = of_each(&self.group_by);
        format!("{} follows {}{group}", self.r#as, self.watch)
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Threshold::handler(self)))
    }
}

/// When and by how much a level rises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Increase {
    /// What the level is multiplied by, as in `2`.
    pub scale: f64,
    /// How long values must be above it, as in `5s`.
    pub after: Period,
}

/// When and by how much a level falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decrease {
    /// The fraction of the level that values must be at or below, as in `0.4`.
    pub below: f64,
    /// What the level is multiplied by, as in `0.5`.
    pub scale: f64,
    /// How long they must stay there, as in `5s`.
    pub after: Period,
}

/// A running `threshold`.
#[derive(Debug)]
struct Threshold {
    spec: ThresholdSpec,
    machine: Machine,
    levels: Levels,
    group: Vec<String>,
    schema: Option<(SchemaRef, SchemaRef)>,
    newest: i64,
}

impl Threshold {
    /// A threshold as `spec` says.
    fn handler(spec: &ThresholdSpec) -> impl Handler + use<> {
        let steps = Self {
            spec: spec.clone(),
            machine: Machine::new(spec),
            levels: Levels::new(&spec.id, &spec.group_by, spec.limits.of(&spec.id)),
            group: spec.group_by.clone(),
            schema: None,
            newest: i64::MIN,
        };
        Sequence::new(&spec.id, spec.time.as_ref(), &spec.group_by, spec.limits, steps)
    }

    /// What is wrong with the numbers of the spec.
    fn check(&self) -> Result<(), Error> {
        let ThresholdSpec { default, increase, decrease, min, max, .. } = &self.spec;
        let (min, max) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
        let wrong = if increase.is_none() && decrease.is_none() {
            "the level never changes; set `increase`, `decrease` or both"
        } else if !default.is_finite() || *default < min || *default > max {
            "`default` must be a number from `min` to `max`"
        } else if increase.is_some_and(|increase| !(increase.scale.is_finite() && increase.scale > 1.0)) {
            "`increase.scale` must be above 1"
        } else if decrease.is_some_and(|decrease| !(decrease.scale > 0.0 && decrease.scale < 1.0)) {
            "`decrease.scale` must be between 0 and 1"
        } else if decrease.is_some_and(|decrease| !(decrease.below > 0.0 && decrease.below <= 1.0)) {
            "`decrease.below` is a fraction of the level: it must be above 0 and at most 1"
        } else {
            return Ok(());
        };
        Err(Error::spec(&self.spec.id, wrong))
    }

    /// The columns that come out where those of `input` go in.
    fn output(&mut self, input: &SchemaRef) -> Result<SchemaRef, Error> {
        if let Some((_, output)) = self.schema.as_ref().filter(|(known, _)| known == input) {
            return Ok(Arc::clone(output));
        }
        columns::number(&self.spec.id, input, &self.spec.watch)?;
        columns::free(&self.spec.id, input, &self.spec.r#as)?;
        let field: FieldRef = Arc::new(Field::new(&self.spec.r#as, DataType::Float64, false));
        let fields: Vec<FieldRef> = input.fields().iter().cloned().chain([field]).collect();
        let output = Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()));
        self.schema = Some((Arc::clone(input), Arc::clone(&output)));
        Ok(output)
    }
}

impl Steps for Threshold {
    fn shape(&mut self, input: &Shape, _: &EventTime, group: &[String]) -> Result<Shape, Error> {
        self.check()?;
        if self.group != group {
            self.group = group.to_vec();
            self.levels = Levels::new(&self.spec.id, group, self.spec.limits.of(&self.spec.id));
        }
        let schema = input.schema.as_ref().map(|schema| self.output(schema)).transpose()?;
        Ok(Shape { schema, group: group.to_vec(), ..input.clone() })
    }

    fn keys(&self, group: &[String]) -> Option<Digests> {
        Some(Digests::over(&self.spec.id, group)).filter(|_| !group.is_empty())
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let schema = self.output(&rows.schema())?;
        let watched = rows.column(columns::number(&self.spec.id, rows.schema_ref(), &self.spec.watch)?);
        let watched = cast(watched, &DataType::Float64).map_err(Error::kernel(&self.spec.id, rows.num_rows()))?;
        let watched = watched.as_primitive::<Float64Type>();
        let numbers = self.levels.numbers(rows, self.machine.start())?;
        let forget = self.spec.forget_after.map(nanoseconds);
        let mut level_of = |(row, (number, time)): (usize, (&u32, &i64))| {
            let known = self.levels.of(*number);
            let fresh = |seen: i64| forget.is_none_or(|forget| time.saturating_sub(seen) <= forget);
            let before = known.filter(|known| fresh(known.seen)).map_or(self.machine.start(), |known| known.level);
            let value = watched.is_valid(row).then(|| watched.value(row)).filter(|value| !value.is_nan());
            let after = value.map_or(before, |value| self.machine.step(before, value, *time));
            self.levels.set(*number, after, forget.map(|_| *time));
            after.level
        };
        let levels: Float64Array = numbers.iter().zip(times).enumerate().map(|row| Some(level_of(row))).collect();
        self.newest = times.last().copied().unwrap_or(self.newest).max(self.newest);
        let columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain([Arc::new(levels) as ArrayRef]).collect();
        out.push(RecordBatch::try_new(schema, columns).map_err(Error::kernel(&self.spec.id, rows.num_rows()))?);
        Ok(())
    }

    fn held(&self) -> (usize, usize) {
        (0, self.levels.bytes())
    }

    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        if let Some(forget) = self.spec.forget_after {
            self.levels.forget(self.newest.saturating_sub(nanoseconds(forget)));
        }
        self.levels.snapshot()
    }

    fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.levels.restore(&mut parts, self.machine.start())
    }

    fn config(&self) -> Value {
        json!({"watch": self.spec.watch, "groupBy": self.spec.group_by})
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::tests::cuts::{Trial, readings};

    /// Seconds and values, and the levels that come out.
    async fn check(spec: Value, rows: &[(i64, Option<f64>)], expected: &[f64]) {
        let seconds = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let values: Float64Array = rows.iter().map(|row| row.1).collect();
        let columns = [("t", Arc::new(seconds) as ArrayRef, true), ("v", Arc::new(values) as _, true)];
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut node = json!({"type": "threshold", "watch": "v", "as": "level", "time": {"column": "t", "unit": "s"}});
        for (name, value) in spec.as_object().unwrap() {
            node[name] = value.clone();
        }
        let got = Trial::new(json!([node]), &[rows]).same_under_any_cut(8).await.rows;
        let levels: Vec<f64> = got.iter().map(|row| row.split_once("level=").unwrap().1.parse().unwrap()).collect();
        assert_eq!(levels, expected, "{spec}");
    }

    #[tokio::test]
    async fn levels_follow_values_by_event_time() {
        let spec = json!({"default": 10, "increase": {"scale": 2, "after": "5s"},
            "decrease": {"below": 0.3, "scale": 0.5, "after": "5s"}});
        check(spec.clone(), &[(100, Some(7.0))], &[10.0]).await;
        check(spec.clone(), &[(100, Some(15.0)), (106, Some(17.0))], &[10.0, 20.0]).await;
        check(spec.clone(), &[(100, Some(15.0)), (102, Some(9.0))], &[10.0, 10.0]).await;
        check(spec.clone(), &[(100, Some(2.9)), (106, Some(2.8))], &[10.0, 5.0]).await;
        let nulls = [(100, Some(15.0)), (103, None), (107, Some(f64::NAN)), (108, Some(11.0))];
        check(spec.clone(), &nulls, &[10.0, 10.0, 10.0, 20.0]).await;
        let mut forgetting = spec;
        forgetting["forgetAfter"] = json!("10s");
        let rows = [(100, Some(15.0)), (106, Some(15.0)), (117, Some(15.0)), (118, Some(15.0))];
        check(forgetting, &rows, &[10.0, 20.0, 10.0, 10.0]).await;
    }

    #[tokio::test]
    async fn no_cut_changes_a_level() {
        let spec = json!([{"type": "threshold", "watch": "value", "as": "level", "default": 6, "groupBy": ["host"],
            "increase": {"scale": 1.5, "after": "3s"}, "decrease": {"below": 0.6, "scale": 0.5, "after": "2s"},
            "min": 4, "max": 15, "time": {"column": "time", "lateness": "1s", "late": "side"}}]);
        let outcome = Trial::new(spec, &[readings(1, 150), readings(2, 100)]).same_under_any_cut(15).await;
        assert!(outcome.late_rows > 0);
        assert_eq!(outcome.rows.len() as u64 + outcome.late_rows, 250);
        let levels: std::collections::BTreeSet<&str> =
            outcome.rows.iter().filter_map(|row| row.split("level=").nth(1)).collect();
        assert!(levels.len() > 4 && levels.contains("4.0") && levels.contains("15.0"), "{levels:?}");
    }

    #[test]
    fn a_level_that_cannot_be_is_refused() {
        let check = |more: Value, part: &str| {
            let mut spec = json!({"watch": "value", "as": "level", "default": 6, "time": "time",
                "increase": {"scale": 2, "after": "1s"}});
            for (name, value) in more.as_object().unwrap() {
                spec[name] = value.clone();
            }
            let spec: ThresholdSpec = serde_json::from_value(spec).unwrap();
            let shape = Shape { schema: Some(readings(1, 1).schema()), ..Shape::default() };
            let error = Threshold::handler(&spec).shape(&shape).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(json!({"watch": "x"}), "the columns are time, host, value, n");
        check(json!({"watch": "host"}), "`host` is Utf8, but it must be a number");
        check(json!({"as": "n"}), "another name");
        check(json!({"max": 5}), "from `min` to `max`");
        check(json!({"increase": null}), "never changes");
        check(json!({"increase": {"scale": 0.5, "after": "1s"}}), "above 1");
        check(json!({"time": null}), "`time`");
        check(json!({"groupBy": ["x"]}), "no column `x`");
    }
}
