//! `dedupe`: passes the first row of each key and leaves out those that repeat it.

use std::collections::{BTreeMap, HashMap};

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::{Part, Period};

use crate::{
    Builder, Error, EventTime, Handled, Handler, LimitsSpec, Shape, Source, SourceEvent, TimeSpec,
    digest::{Digest, Digests},
    sequence::{Sequence, Steps},
    spec::{HandlerSpec, Parts},
    state::{Seen, number},
    time::nanoseconds,
};

/// Passes the first row of each key and leaves out those that repeat it.
///
/// With `within` alone, rows of all partitions are put in order of event time, and a row is left out if the last one that
/// passed with its key is no older than that. With `last`, rows keep their order, and each partition is handled by itself,
/// because the order between partitions is chance: a row is left out if its key is among the last so many distinct ones that
/// passed (and, with `within` too, if their times are no further apart than that).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DedupeSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// Columns that make up the key, as in `[id]`; the whole row if none are given.
    #[serde(default)]
    pub by: Vec<String>,
    /// For how long a key is remembered, as in `10m` of event time.
    #[serde(default)]
    pub within: Option<Period>,
    /// How many different keys of each partition are remembered, as in `100000`.
    #[serde(default)]
    pub last: Option<u64>,
    /// The event time, if it is not that of the pipeline.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// How much it may hold.
    #[serde(default)]
    pub limits: LimitsSpec,
}

#[async_trait]
impl HandlerSpec for DedupeSpec {
    fn describe(&self) -> String {
        let of =
            if self.by.is_empty() { "of equal rows".into() } else { format!("row of each {}", self.by.join(", ")) };
        let last = self.last.map(|last| format!(" among the last {last} of a partition"));
        let within = self.within.map(|within| format!(" within {within}"));
        format!("the first {of}{}{}", last.unwrap_or_default(), within.unwrap_or_default())
    }

    fn by_all_columns(&self) -> bool {
        self.by.is_empty()
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(match self.last {
            Some(last) => Box::new(Recent::new(self, last)),
            None => Box::new(Sequence::new(&self.id, self.time.as_ref(), &[], self.limits, Within::new(self))),
        })
    }
}

impl DedupeSpec {
    fn config(&self) -> Value {
        json!({"by": self.by, "within": self.within, "last": self.last})
    }
}

/// A `dedupe` by time, over rows of all partitions.
#[derive(Debug)]
struct Within {
    spec: DedupeSpec,
    within: i64,
    digests: Digests,
    seen: Seen,
    reached: i64,
    left_out: u64,
}

impl Within {
    fn new(spec: &DedupeSpec) -> Self {
        Self {
            spec: spec.clone(),
            within: spec.within.map_or(0, nanoseconds),
            digests: Digests::over_all(&spec.id, &spec.by, ""),
            seen: Seen::new(&spec.id),
            reached: i64::MIN,
            left_out: 0,
        }
    }
}

impl Steps for Within {
    fn shape(&mut self, input: &Shape, _: &EventTime, group: &[String]) -> Result<Shape, Error> {
        if self.spec.within.is_none() {
            let reason = "set how long keys are remembered, or how many: `within: 10m` or `last: 100000`";
            return Err(Error::spec(&self.spec.id, reason));
        }
        self.digests.also(group);
        if let Some(schema) = &input.schema {
            self.digests.check(schema)?;
        }
        Ok(input.clone())
    }

    fn keys(&self, _: &[String]) -> Option<Digests> {
        Some(self.digests.clone())
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let mut new = |(digest, &time): (Digest, &i64)| {
            let repeats = |before: i64| time.saturating_sub(before) <= self.within;
            let new = !self.seen.of(0, &digest).is_some_and(|(_, before)| before.is_some_and(repeats));
            if new {
                self.seen.insert(0, digest, Some(time));
            }
            Some(new)
        };
        let mask: BooleanArray = self.digests.of(rows)?.into_iter().zip(times).map(&mut new).collect();
        self.left_out += (mask.len() - mask.true_count()) as u64;
        out.push(filter_record_batch(rows, &mask).map_err(Error::kernel(&self.spec.id, rows.num_rows()))?);
        Ok(())
    }

    fn reached(&mut self, time: i64, _: &mut Vec<RecordBatch>) -> Result<(), Error> {
        if time < i64::MAX {
            self.reached = time;
            let oldest = time.saturating_sub(self.within);
            self.seen.tidy(|_, _, time| time.is_some_and(|time| time >= oldest));
        }
        Ok(())
    }

    fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    fn held(&self) -> (usize, usize) {
        (0, self.seen.bytes())
    }

    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let oldest = self.reached.saturating_sub(self.within);
        self.seen.snapshot(|_, _, time| time.is_some_and(|time| time >= oldest))
    }

    fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.seen.restore(&mut parts)
    }

    fn config(&self) -> Value {
        self.spec.config()
    }
}

/// A `dedupe` by count, for each source by itself.
#[derive(Debug)]
struct Recent {
    spec: DedupeSpec,
    last: u64,
    within: Option<i64>,
    digests: Digests,
    time: Option<EventTime>,
    seen: Seen,
    /// Keys that passed so far, by source.
    passed: HashMap<i64, u64>,
}

impl Recent {
    fn new(spec: &DedupeSpec, last: u64) -> Self {
        Self {
            spec: spec.clone(),
            last,
            within: spec.within.map(nanoseconds),
            digests: Digests::over_all(&spec.id, &spec.by, ""),
            time: None,
            seen: Seen::new(&spec.id),
            passed: HashMap::new(),
        }
    }

    /// For each row whether none of the last ones had its key.
    fn new_keys(&mut self, batch: &RecordBatch, source: i64) -> Result<BooleanArray, Error> {
        let times = self.time.as_ref().map(|time| time.of(batch)).transpose()?;
        let time_of = |row: usize| times.as_ref().filter(|times| times.is_valid(row)).map(|times| times.value(row));
        let passed = self.passed.entry(source).or_default();
        let mut new = |(row, digest): (usize, Digest)| {
            let time = time_of(row);
            let near = |before: Option<i64>| match (self.within, time, before) {
                (Some(within), Some(time), Some(before)) => time.abs_diff(before) <= within.unsigned_abs(),
                _ => true,
            };
            let known = self.seen.of(source, &digest);
            let new = !known.is_some_and(|(number, before)| is_among(number, *passed, self.last) && near(before));
            if new {
                self.seen.insert_numbered(source, digest, *passed, time);
                *passed += 1;
            }
            Some(new)
        };
        Ok(self.digests.of(batch)?.into_iter().enumerate().map(&mut new).collect())
    }

    fn is_recent(&self) -> impl Fn(i64, u64, Option<i64>) -> bool + use<> {
        let (passed, last) = (self.passed.clone(), self.last);
        move |source, number, _| passed.get(&source).is_some_and(|passed| is_among(number, *passed, last))
    }
}

/// Whether the key with this number is among the last of those that passed.
fn is_among(number: u64, passed: u64, last: u64) -> bool {
    passed.checked_sub(number).is_some_and(|since| since <= last)
}

#[async_trait]
impl Handler for Recent {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        if self.last == 0 {
            let reason = "`last` must be at least 1";
            return Err(Error::spec(&self.spec.id, reason));
        }
        if self.within.is_some() {
            let spec = self.spec.time.as_ref().or(input.time.as_ref());
            self.time = spec.map(|spec| EventTime::new(&self.spec.id, &spec.settings()));
            if self.time.is_none() {
                let reason = "`within` needs the event time of rows; name their column with `time`";
                return Err(Error::spec(&self.spec.id, reason));
            }
        }
        self.digests.also(&input.group);
        if let Some(schema) = &input.schema {
            self.digests.check(schema)?;
            self.time.iter().try_for_each(|time| time.check(schema).map(drop))?;
        }
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let mask = self.new_keys(&batch, number(from))?;
        self.seen.tidy(self.is_recent());
        self.spec.limits.of(&self.spec.id).bytes(self.seen.bytes())?;
        Handled::masked(&self.spec.id, batch, &mask)
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        if let SourceEvent::Ended(source) = event {
            self.passed.remove(&number(source));
            self.seen.forget_source(number(source));
        }
        Ok(Handled::default())
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        if self.passed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut parts = self.seen.snapshot(self.is_recent())?;
        let passed: BTreeMap<i64, u64> = self.passed.iter().map(|(&source, &passed)| (source, passed)).collect();
        let passed: Vec<(i64, u64)> = passed.into_iter().collect();
        parts.insert("passed".into(), json!(passed).to_string().into_bytes().into());
        Ok(parts)
    }

    async fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        if let Some(passed) = parts.remove("passed") {
            let passed: Vec<(i64, u64)> =
                serde_json::from_slice(&passed).map_err(|error| Error::state(&self.spec.id, error))?;
            self.passed = passed.into_iter().collect();
        }
        self.seen.restore(&mut parts)
    }

    fn config(&self) -> Option<Value> {
        Some(self.spec.config())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        TimeSpec,
        tests::cuts::{Trial, readings},
    };

    async fn check(spec: serde_json::Value, ordered: bool) -> Vec<String> {
        let mut trial = Trial::new(json!([spec]), &[readings(1, 120), readings(2, 90)]);
        trial.time = Some(serde_json::from_value::<TimeSpec>(json!({"column": "time", "lateness": "2s"})).unwrap());
        trial.ordered = ordered;
        trial.same_under_any_cut(12).await.rows
    }

    fn hosts(rows: &[String]) -> Vec<(i64, String)> {
        let cell = |row: &str, name: &str| {
            let found = row.split(' ').find_map(|cell| cell.strip_prefix(name).map(str::to_owned));
            found.unwrap_or_else(|| panic!("{name} in {row}"))
        };
        let seconds = |time: String| time.parse::<jiff::civil::DateTime>().unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        rows.iter()
            .map(|row| (seconds(cell(row, "time=")).unwrap().timestamp().as_millisecond(), cell(row, "host=")))
            .collect()
    }

    #[tokio::test]
    async fn a_key_passes_again_only_after_its_time() {
        let rows = hosts(&check(json!({"type": "dedupe", "by": ["host"], "within": "20s"}), true).await);
        for (index, (time, host)) in rows.iter().enumerate() {
            let before = rows[..index].iter().rev().find(|(_, other)| other == host);
            assert!(before.is_none_or(|(before, _)| time - before > 20_000), "{host} at {time}");
        }
        assert!(rows.len() > 12, "{}", rows.len());
        assert_eq!(check(json!({"type": "dedupe", "within": "1h"}), true).await.len(), 210, "all rows differ");
    }

    #[tokio::test]
    async fn a_key_passes_again_only_after_others() {
        let all = check(json!({"type": "dedupe", "by": ["host"], "last": 100}), false).await;
        assert_eq!(all.len(), 8, "four keys of two partitions, nulls too: {all:?}");
        let few = check(json!({"type": "dedupe", "by": ["host"], "last": 2}), false).await;
        assert!(few.len() > 50 && few.len() < 210, "{}", few.len());
        let timed = check(json!({"type": "dedupe", "by": ["host"], "last": 100, "within": "20s"}), false).await;
        assert!(timed.len() > 12 && timed.len() < 60, "{}", timed.len());
    }

    #[tokio::test]
    async fn what_is_remembered_has_to_be_said() {
        let trial = Trial::new(json!([{"type": "dedupe", "by": ["host"], "time": "time"}]), &[readings(1, 3)]);
        let chain = crate::Builder::default().chain(&trial.nodes, &mut Default::default()).await;
        let shape = crate::Shape { schema: Some(trial.sources[0].schema()), ..Default::default() };
        let error = chain.unwrap().shape(shape).unwrap_err().to_string();
        assert!(error.contains("`within: 10m` or `last: 100000`"), "{error}");
    }
}
