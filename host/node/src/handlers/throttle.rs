//! `throttle`: passes so many rows in each interval of event time, for each group.

use std::collections::{BTreeMap, HashMap, VecDeque};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::{Part, Period};

use crate::{
    Builder, Error, EventTime, Handler, LimitsSpec, Shape, TimeSpec,
    digest::{Digest, Digests},
    sequence::{Sequence, Steps},
    spec::{HandlerSpec, Parts, of_each},
    state::{RowStore, Seen},
    time::nanoseconds,
};

/// Passes at most `rows` rows in each interval of event time, for each group by itself.
///
/// Intervals begin at multiples of `per` since 1970: with `per: 1m`, at every full minute. Further rows are left out, and
/// counted in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThrottleSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// How many rows pass, as in `10`.
    #[serde(default = "one")]
    pub rows: u64,
    /// Length of an interval, as in `1s`.
    pub per: Period,
    /// Which rows pass: the first ones of each interval, or the last ones, which come out when it is over.
    #[serde(default)]
    pub keep: Keep,
    /// Columns to group by, each group counted by itself, as in `[host]`.
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
impl HandlerSpec for ThrottleSpec {
    fn describe(&self) -> String {
        let keep = if self.keep == Keep::Last { "last" } else { "first" };
        let group = of_each(&self.group_by);
        format!("the {keep} {} rows in {}{group}", self.rows, self.per)
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Throttle::handler(self)))
    }
}

fn one() -> u64 {
    1
}

/// Which rows of an interval pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The first ones.
    #[default]
    First,
    /// The last ones.
    Last,
}

/// A running `throttle`.
#[derive(Debug)]
struct Throttle {
    spec: ThrottleSpec,
    per: i64,
    digests: Digests,
    time: Option<EventTime>,
    /// Start of the interval that rows are in.
    interval: Option<i64>,
    /// How many have passed of each group: one less is its number there.
    passed: Seen,
    /// Rows that may still be among the last ones, and those of each group in order.
    store: RowStore,
    last: HashMap<Digest, VecDeque<u64>>,
    left_out: u64,
}

impl Throttle {
    /// A throttle as `spec` says.
    fn handler(spec: &ThrottleSpec) -> impl Handler + use<> {
        let steps = Self {
            spec: spec.clone(),
            per: nanoseconds(spec.per),
            digests: Digests::over(&spec.id, &spec.group_by),
            time: None,
            interval: None,
            passed: Seen::new(&spec.id),
            store: RowStore::new(&spec.id, "rows"),
            last: HashMap::new(),
            left_out: 0,
        };
        Sequence::new(&spec.id, spec.time.as_ref(), &spec.group_by, spec.limits, steps)
    }

    /// Ends the interval if `time` is behind it.
    fn move_to(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let over = |start: i64| time >= start.saturating_add(self.per) || time < start;
        if self.interval.is_some_and(over) {
            self.passed.clear();
            let mut rows: Vec<u64> = std::mem::take(&mut self.last).into_values().flatten().collect();
            rows.sort_unstable();
            out.extend(self.store.take(&rows)?);
            rows.iter().for_each(|&row| self.store.remove(row));
            self.interval = None;
        }
        Ok(())
    }

    /// Passes the first rows of an interval.
    fn pass(&mut self, rows: &RecordBatch, times: &[i64], digests: &[Digest]) -> Result<RecordBatch, Error> {
        let (most, passed) = (self.spec.rows, &mut self.passed);
        let mut passes = |(digest, time): (&Digest, &i64)| {
            let number = passed.of(0, digest).map_or(0, |(number, _)| number + 1);
            if number < most {
                passed.insert_numbered(0, *digest, number, Some(*time));
            }
            Some(number < most)
        };
        let mask: BooleanArray = digests.iter().zip(times).map(&mut passes).collect();
        self.left_out += (mask.len() - mask.true_count()) as u64;
        filter_record_batch(rows, &mask).map_err(Error::kernel(&self.spec.id, rows.num_rows()))
    }

    /// Holds rows that may be the last ones of an interval.
    fn hold(&mut self, rows: RecordBatch, digests: &[Digest]) {
        let first = self.store.push(rows);
        for (id, digest) in (first..).zip(digests) {
            let last = self.last.entry(*digest).or_default();
            last.push_back(id);
            if last.len() as u64 > self.spec.rows
                && let Some(older) = last.pop_front()
            {
                self.store.remove(older);
                self.left_out += 1;
            }
        }
    }
}

impl Steps for Throttle {
    fn shape(&mut self, input: &Shape, time: &EventTime, group: &[String]) -> Result<Shape, Error> {
        if self.spec.rows == 0 || self.per == 0 {
            let reason = "`rows` and `per` must be more than 0; to drop rows, use a filter";
            return Err(Error::spec(&self.spec.id, reason));
        }
        self.time = Some(time.clone());
        self.digests = Digests::over(&self.spec.id, group);
        Ok(Shape { group: group.to_vec(), ..input.clone() })
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let digests = self.digests.of(rows)?;
        let mut from = 0;
        let per = self.per;
        for run in times.chunk_by(|&a, &b| start_of(a, per) == start_of(b, per)) {
            let (records, digests) = (rows.slice(from, run.len()), &digests[from..from + run.len()]);
            from += run.len();
            self.move_to(run[0], out)?;
            self.interval = Some(start_of(run[0], per));
            match self.spec.keep {
                Keep::First => out.push(self.pass(&records, run, digests)?),
                Keep::Last => self.hold(records, digests),
            }
        }
        Ok(())
    }

    fn reached(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        match self.interval {
            Some(start) if time > start => self.move_to(time, out),
            _ => Ok(()),
        }
    }

    fn held(&self) -> (usize, usize) {
        (self.store.rows(), self.store.bytes() + self.passed.bytes())
    }

    fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = self.passed.snapshot(|_, _, _| true)?;
        self.store.snapshot(&mut parts)?;
        Ok(parts)
    }

    fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.passed.restore(&mut parts)?;
        self.store.restore(&mut parts)?;
        let mut latest = self.passed.latest();
        for (ids, rows) in self.store.all()? {
            for (id, digest) in ids.into_iter().zip(self.digests.of(&rows)?) {
                self.last.entry(digest).or_default().push_back(id);
            }
            let times = self.time.as_ref().map(|time| time.of(&rows)).transpose()?;
            latest = latest.max(times.and_then(|times| times.iter().flatten().max()));
        }
        self.interval = latest.map(|time| start_of(time, self.per));
        Ok(())
    }

    fn config(&self) -> Value {
        json!({"rows": self.spec.rows, "per": self.spec.per, "keep": self.spec.keep, "groupBy": self.spec.group_by})
    }
}

/// Start of the interval of a time.
fn start_of(time: i64, per: i64) -> i64 {
    time.div_euclid(per.max(1)).saturating_mul(per)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use serde_json::json;

    use crate::tests::cuts::{Trial, readings};

    /// Seconds and hosts, and the rows that pass, by number.
    async fn check(spec: &str, rows: &[(i64, &str)], expected: &[usize]) {
        let seconds = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let hosts = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        let numbers = Int64Array::from_iter_values(0..rows.len() as i64);
        let rows = RecordBatch::try_from_iter([
            ("t", Arc::new(seconds) as _),
            ("host", Arc::new(hosts) as _),
            ("n", Arc::new(numbers) as _),
        ]);
        let mut spec: serde_json::Value = serde_json::from_str(spec).unwrap();
        spec["type"] = json!("throttle");
        spec["time"] = json!({"column": "t", "unit": "s"});
        let got = Trial::new(json!([spec]), &[rows.unwrap()]).same_under_any_cut(10).await.rows;
        let expected: Vec<String> = expected.iter().map(|n| format!("n={n}")).collect();
        let got: Vec<&str> = got.iter().filter_map(|row| row.split(' ').next_back()).collect();
        assert_eq!(got, expected, "{spec}");
    }

    #[tokio::test]
    async fn so_many_rows_pass_in_each_interval() {
        let rows = [(0, "a"), (1, "a"), (2, "b"), (9, "a"), (10, "a"), (10, "b"), (11, "a"), (35, "b")];
        check(r#"{"per": "10s"}"#, &rows, &[0, 4, 7]).await;
        check(r#"{"per": "10s", "rows": 2}"#, &rows, &[0, 1, 4, 5, 7]).await;
        check(r#"{"per": "10s", "groupBy": ["host"]}"#, &rows, &[0, 2, 4, 5, 7]).await;
        check(r#"{"per": "10s", "keep": "last", "rows": 2}"#, &rows, &[2, 3, 5, 6, 7]).await;
        check(r#"{"per": "10s", "keep": "last", "groupBy": ["host"]}"#, &rows, &[2, 3, 5, 6, 7]).await;
    }

    #[tokio::test]
    async fn no_cut_changes_what_passes() {
        for keep in ["first", "last"] {
            let spec = json!([{"type": "throttle", "per": "5s", "rows": 2, "keep": keep, "groupBy": ["host"],
                "time": {"column": "time", "lateness": "2s"}}]);
            let rows = Trial::new(spec, &[readings(1, 150), readings(2, 100)]).same_under_any_cut(12).await.rows;
            let mut each: BTreeMap<String, usize> = BTreeMap::new();
            for row in &rows {
                let cell = |name: &str| row.split(' ').find_map(|cell| cell.strip_prefix(name)).unwrap_or_default();
                let time: jiff::civil::DateTime = cell("time=").parse().unwrap();
                let interval = time.minute() as u64 * 12 + time.second() as u64 / 5;
                *each.entry(format!("{interval} {}", cell("host="))).or_default() += 1;
            }
            assert!(rows.len() > 100 && each.values().all(|count| *count <= 2), "{keep}: {each:?}");
        }
    }
}
