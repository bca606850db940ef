//! `sample`: passes a part of the rows, the same ones every time.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::Part;

use crate::{
    Builder, Error, Handled, Handler, Shape, Source, SourceEvent,
    digest::Digests,
    spec::{HandlerSpec, Parts},
    state::number,
};

/// Passes a part of the rows.
///
/// A digest of the columns `by`, or of the whole row, decides which: the same rows pass in every run, and either all rows of
/// a key pass or none. `every` without `by` counts the rows of each partition instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SampleSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The fraction that passes, as in `0.1` for a tenth.
    #[serde(default)]
    pub fraction: Option<f64>,
    /// One in so many passes, as in `100`: with `by` one key in so many, otherwise the first, the 101st … row of each partition.
    #[serde(default)]
    pub every: Option<u64>,
    /// Columns that decide, as in `[user]`; the whole row if none are given.
    #[serde(default)]
    pub by: Vec<String>,
    /// A different word selects different rows, so that two samples are independent.
    #[serde(default)]
    pub salt: String,
}

#[async_trait]
impl HandlerSpec for SampleSpec {
    fn describe(&self) -> String {
        let part = match (self.fraction, self.every) {
            (Some(fraction), _) => format!("{fraction} of the"),
            (None, Some(every)) => format!("one in {every}"),
            (None, None) => "some".to_owned(),
        };
        let by = if self.by.is_empty() { String::new() } else { format!(", by {}", self.by.join(", ")) };
        format!("{part} rows{by}")
    }

    fn stateful(&self) -> bool {
        self.counts()
    }

    fn by_all_columns(&self) -> bool {
        self.fraction.is_some() && self.by.is_empty()
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Sample::new(self)))
    }
}

impl SampleSpec {
    /// Whether it counts rows rather than looks at them.
    fn counts(&self) -> bool {
        self.every.is_some() && self.by.is_empty()
    }
}

/// A running `sample`.
#[derive(Debug)]
struct Sample {
    spec: SampleSpec,
    digests: Digests,
    /// Rows seen so far, by source.
    seen: BTreeMap<i64, u64>,
}

impl Sample {
    /// A sample as `spec` says.
    fn new(spec: &SampleSpec) -> Self {
        let digests = Digests::over_all(&spec.id, &spec.by, &spec.salt);
        Self { spec: spec.clone(), digests, seen: BTreeMap::new() }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = match (self.spec.fraction, self.spec.every) {
            (Some(fraction), None) if (0.0..=1.0).contains(&fraction) => return Ok(()),
            (None, Some(1..)) => return Ok(()),
            (Some(_), None) => "`fraction` must be a number from 0 to 1",
            (None, Some(_)) => "`every` must be at least 1",
            _ => "set how much passes, with either `fraction: 0.1` or `every: 10`",
        };
        Err(Error::spec(&self.spec.id, wrong))
    }

    /// Which rows pass.
    fn mask(&mut self, batch: &RecordBatch, from: Source) -> Result<BooleanArray, Error> {
        if let (Some(every), true) = (self.spec.every, self.spec.counts()) {
            let seen = self.seen.entry(number(from)).or_default();
            let first = *seen;
            *seen += batch.num_rows() as u64;
            return Ok((first..*seen).map(|row| Some(row.is_multiple_of(every))).collect());
        }
        let passes = |number: u64| match (self.spec.every, self.spec.fraction) {
            (Some(every), _) => number.is_multiple_of(every),
            // As many as 53 bits tell apart, which is what a fraction has.
            (None, fraction) => ((number >> 11) as f64) < fraction.unwrap_or(1.0) * (1u64 << 53) as f64,
        };
        let digests = self.digests.of(batch)?;
        let number = |digest: &[u8; 16]| digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(digests.iter().map(|digest| Some(passes(number(digest)))).collect())
    }
}

#[async_trait]
impl Handler for Sample {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        self.check()?;
        if let Some(schema) = &input.schema {
            self.digests.check(schema)?;
        }
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let mask = self.mask(&batch, from)?;
        Handled::masked(&self.spec.id, batch, &mask)
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        if let SourceEvent::Ended(source) = event {
            self.seen.remove(&number(source));
        }
        Ok(Handled::default())
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        if self.seen.is_empty() {
            return Ok(BTreeMap::new());
        }
        let seen: Vec<(i64, u64)> = self.seen.iter().map(|(&source, &seen)| (source, seen)).collect();
        Ok([(String::new(), Part::from(json!(seen).to_string().into_bytes()))].into())
    }

    async fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        let Some(part) = parts.remove("") else { return Ok(()) };
        let seen: Vec<(i64, u64)> =
            serde_json::from_slice(&part).map_err(|error| Error::state(&self.spec.id, error))?;
        self.seen = seen.into_iter().collect();
        Ok(())
    }

    fn config(&self) -> Option<Value> {
        self.spec.counts().then(|| json!({"every": self.spec.every}))
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::cuts::{Outcome, Trial, readings};

    async fn check(spec: serde_json::Value, rows: usize) -> Outcome {
        let mut trial = Trial::new(serde_json::json!([spec]), &[readings(1, rows), readings(2, rows)]);
        trial.ordered = false;
        trial.same_under_any_cut(6).await
    }

    #[tokio::test]
    async fn the_same_part_passes_every_time() {
        let tenth = check(serde_json::json!({"type": "sample", "fraction": 0.1}), 500).await.rows.len();
        assert!((60..140).contains(&tenth), "{tenth} of 1000");
        let none = check(serde_json::json!({"type": "sample", "fraction": 0}), 50).await.rows.len();
        let all = check(serde_json::json!({"type": "sample", "fraction": 1}), 50).await.rows.len();
        assert_eq!((none, all), (0, 100));
    }

    #[tokio::test]
    async fn a_key_passes_wholly_or_not_at_all() {
        let one = check(serde_json::json!({"type": "sample", "every": 2, "by": ["host"], "salt": "b"}), 80).await.rows;
        let hosts: std::collections::BTreeSet<&str> =
            one.iter().filter_map(|row| row.split(' ').find(|cell| cell.starts_with("host="))).collect();
        let all = readings(1, 80).num_rows() * 2;
        assert!(!hosts.is_empty() && hosts.len() < 4 && one.len() < all, "{hosts:?}");
    }

    #[tokio::test]
    async fn every_nth_row_of_a_source_passes() {
        let rows = check(serde_json::json!({"type": "sample", "every": 7}), 50).await.rows;
        assert_eq!(rows.len(), 16);
        assert!(rows.iter().any(|row| row.ends_with("n=1007")) && rows.iter().any(|row| row.ends_with("n=2049")));
    }
}
