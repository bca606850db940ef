//! What buckets give, together and wherever they are, is what one handler gives that has all keys.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use spout_data::{Batch, Messages, Origins, Part, Position, Span};

use super::*;
use crate::{
    Chain, Shape, Source, SourceEvent, TimeSpec,
    tests::cuts::{Outcome, Trial, partition, readings},
};

/// The handlers in one piece, or their buckets at several members.
enum Under {
    Whole(Chain),
    Split(Keys, Vec<Buckets>),
}

struct Run<'a> {
    trial: &'a Trial,
    dice: StdRng,
    splits: bool,
    under: Under,
    stored: BTreeMap<String, Bytes>,
    taken: Vec<usize>,
    /// What was taken at the last commit.
    committed: Vec<usize>,
    open: Outcome,
    /// What each commit holds.
    commits: Vec<Outcome>,
}

fn shape(trial: &Trial) -> Shape {
    Shape { schema: Some(trial.sources[0].schema()), time: trial.time.clone(), ..Shape::default() }
}

impl<'a> Run<'a> {
    async fn start(trial: &'a Trial, splits: bool, seed: u64) -> Self {
        let none = vec![0; trial.sources.len()];
        let mut run = Self {
            trial,
            dice: StdRng::seed_from_u64(seed),
            splits,
            under: Under::Whole(Chain::default()),
            stored: BTreeMap::new(),
            taken: none.clone(),
            committed: none,
            open: Outcome::default(),
            commits: Vec::new(),
        };
        run.kill().await;
        run
    }

    /// Starts again from the last commit, with any number of members.
    async fn kill(&mut self) {
        let (builder, mut states) = (&self.trial.builder, self.stored.clone());
        let mut whole = builder.chain(&self.trial.nodes, &mut BTreeMap::new()).await.unwrap();
        self.under = if self.splits {
            whole.shape(shape(self.trial)).unwrap();
            let keys = whole.keys().expect("keys");
            let members = self.dice.random_range(1..=3_u16);
            let mut parts = Vec::new();
            for member in 0..members {
                let own = (0..BUCKETS).filter(|bucket| bucket % members == member);
                let mut buckets = builder.buckets(&self.trial.nodes, own, &mut states, |chain| chain).await.unwrap();
                buckets.shape(&shape(self.trial)).await.unwrap();
                parts.push(buckets);
            }
            Under::Split(keys, parts)
        } else {
            let mut chain = builder.chain(&self.trial.nodes, &mut states).await.unwrap();
            chain.shape(shape(self.trial)).unwrap();
            Under::Whole(chain)
        };
        builder.nothing_left(&states).unwrap();
        (self.taken, self.open) = (self.committed.clone(), Outcome::default());
        self.all(SourceEvent::Opened).await;
    }

    async fn all(&mut self, event: fn(Source) -> SourceEvent) {
        for source in 0..self.trial.sources.len() {
            self.deliver(event(partition(source))).await;
        }
    }

    async fn deliver(&mut self, event: SourceEvent) {
        match &mut self.under {
            Under::Whole(chain) => self.open.take(chain.on_event(event).await.unwrap()),
            Under::Split(_, parts) => {
                for part in parts {
                    self.open.take(part.on_event(event).await.unwrap());
                }
            }
        }
    }

    async fn give(&mut self, source: usize, rows: usize) {
        let from = self.taken[source];
        self.taken[source] += rows;
        self.open.given += rows as u64;
        let mut messages = Messages { offsets: (from as u64..(from + rows) as u64).collect(), ..Messages::default() };
        (from..from + rows).for_each(|row| messages.values.push(format!("{source} {row}").as_bytes()));
        let batch = Batch {
            span: Span {
                partition: (source as u32).into(),
                start: from as u64,
                next: Position::at((from + rows) as u64),
            },
            origins: Origins::Each,
            messages: Arc::new(messages),
            ..Batch::held(self.trial.sources[source].slice(from, rows))
        };
        match &mut self.under {
            Under::Whole(chain) => self.open.take(chain.handle(batch).await.unwrap()),
            Under::Split(_, parts) if parts.len() == 1 => self.open.take(parts[0].handle(batch).await.unwrap()),
            Under::Split(keys, parts) => {
                let order: Vec<u16> = parts.iter().flat_map(Buckets::here).collect();
                let (rest, shares) = keys.split(batch, &order).unwrap();
                self.open.take(vec![rest]);
                let mut first = 0;
                for part in parts {
                    let count = part.here().len();
                    self.open.take(part.take(&shares.some(first, count)).await.unwrap());
                    first += count;
                }
            }
        }
    }

    async fn commit(&mut self) {
        self.deliver(SourceEvent::Cut).await;
        let mut parts = BTreeMap::new();
        match &mut self.under {
            Under::Whole(chain) => parts.extend(chain.snapshot().await.unwrap()),
            Under::Split(_, all) => {
                for part in all {
                    parts.extend(part.snapshot().await.unwrap());
                }
                assert!(parts.is_empty() || are_of_buckets(parts.keys()));
            }
        }
        let part = |(name, part): (String, Part)| match part {
            Part::New(bytes) => (name, bytes),
            Part::Kept => (name.clone(), self.stored[&name].clone()),
        };
        self.stored = parts.into_iter().map(part).collect();
        self.committed = self.taken.clone();
        let mut open = std::mem::take(&mut self.open);
        [&mut open.rows, &mut open.late, &mut open.dead].into_iter().for_each(|lines| lines.sort());
        self.commits.push(open);
    }

    /// All rows twice over, with an end of all sources between, as a run that is over and another one.
    async fn script(mut self, seed: u64) -> Vec<Outcome> {
        let mut dice = StdRng::seed_from_u64(seed);
        let lengths: Vec<usize> = self.trial.sources.iter().map(RecordBatch::num_rows).collect();
        for part in [2, 1] {
            loop {
                let until = |source: usize| lengths[source] / part;
                let ready: Vec<usize> =
                    (0..lengths.len()).filter(|source| self.taken[*source] < until(*source)).collect();
                if ready.is_empty() {
                    break;
                }
                let source = ready[dice.random_range(0..ready.len())];
                let rows = dice.random_range(1..=12).min(until(source) - self.taken[source]);
                self.give(source, rows).await;
                if dice.random_ratio(1, 6) {
                    self.commit().await;
                }
                if dice.random_ratio(1, 8) {
                    self.kill().await;
                }
                if dice.random_ratio(1, 10) {
                    let source = partition(dice.random_range(0..lengths.len()));
                    self.deliver(SourceEvent::Idle(source, std::time::Duration::from_secs(9))).await;
                }
            }
            self.all(SourceEvent::Ended).await;
            match &mut self.under {
                Under::Whole(chain) => self.open.take(chain.finish().await.unwrap()),
                Under::Split(_, parts) => {
                    for part in parts {
                        self.open.take(part.finish().await.unwrap());
                    }
                }
            }
            self.commit().await;
            self.kill().await;
        }
        self.commits
    }
}

async fn same(nodes: Value, times: u64) -> Vec<Outcome> {
    let mut sources: Vec<RecordBatch> = (1..=3).map(|seed| readings(seed, 60)).collect();
    // Some have no time.
    let (schema, mut columns) = (sources[0].schema(), sources[0].columns().to_vec());
    let mask = (0..60).map(|row| Some(row % 13 == 7)).collect();
    columns[0] = arrow::compute::nullif(&columns[0], &mask).unwrap();
    sources[0] = RecordBatch::try_new(schema, columns).unwrap();
    let time = json!({"column": "time", "lateness": "1s", "idleAfter": "5s"});
    let time = Some(serde_json::from_value::<TimeSpec>(time).unwrap());
    let trial = Trial { time, ..Trial::new(nodes, &sources) };
    assert!(split_by_key(&trial.nodes));
    let mut last = Vec::new();
    for seed in 0..times {
        let whole = Run::start(&trial, false, seed).await.script(seed).await;
        let split = Run::start(&trial, true, seed).await.script(seed).await;
        assert_eq!(split, whole, "seed {seed} of {:?}", trial.nodes);
        last = whole;
    }
    last
}

#[tokio::test]
async fn windows_by_key_give_the_same_whoever_has_which_bucket() {
    let aggregate = json!({"n": "count(*)", "sum": "sum(value)", "first": "first(value)"});
    for nodes in [
        json!([{"type": "window", "period": "7s", "groupBy": ["host"], "aggregate": aggregate}]),
        json!([{"type": "window", "period": "9s", "every": "4s", "groupBy": ["host", "value"], "aggregate": {"n": "count(*)"}}]),
        json!([{"type": "window", "period": "3s", "every": "5s", "groupBy": ["host"], "aggregate": {"n": "max(n)"}}]),
        json!([{"type": "window", "session": "2s", "groupBy": ["host"], "aggregate": {"n": "count(*)"}}]),
        json!([{"type": "window", "session": "2s", "groupBy": ["host"], "aggregate": aggregate, "late": "drop"}]),
        json!([{"type": "window", "period": "6s", "groupBy": ["host"], "bounds": true},
            {"type": "map", "columns": {"double": "value * 2"}}, {"type": "filter", "where": "n % 3 > 0"}]),
        json!([{"type": "window", "period": "6s", "groupBy": ["host"]},
            {"type": "aggregate", "columns": {"n": "count(*)", "last": "last(n)"}}]),
    ] {
        let commits = same(nodes, 8).await;
        assert!(commits.iter().any(|commit| !commit.rows.is_empty()));
        assert!(commits.iter().any(|commit| commit.late_rows > 0) && commits.iter().any(|one| !one.dead.is_empty()));
    }
}

#[tokio::test]
async fn handlers_that_need_order_give_the_same_rows_of_each_key() {
    for nodes in [
        json!([{"type": "dedupe", "by": ["host"], "within": "12s"}]),
        json!([{"type": "dedupe", "within": "40s"}, {"type": "filter", "where": "value > 2"}]),
        json!([{"type": "threshold", "watch": "value", "as": "level", "default": 6, "groupBy": ["host"], "forgetAfter": "20s",
            "increase": {"scale": 2, "after": "3s"}, "decrease": {"below": 0.5, "scale": 0.5, "after": "3s"}}]),
        json!([{"type": "derivative", "columns": {"speed": {"column": "value"}}, "neighbourhood": "6s", "groupBy": ["host"]},
            {"type": "map", "columns": {"twice": "speed * 2"}}]),
        json!([{"type": "derivative", "columns": {"speed": {"column": "value"}}, "neighbourhood": "6s", "noWait": true,
            "groupBy": ["host"]}]),
    ] {
        let commits = same(nodes, 12).await;
        assert!(commits.iter().any(|commit| !commit.rows.is_empty()));
        assert!(commits.iter().any(|commit| commit.late_rows > 0) && commits.iter().any(|one| !one.dead.is_empty()));
    }
}

#[tokio::test]
async fn aggregates_of_commits_by_key_give_the_same() {
    same(json!([{"type": "aggregate", "per": "commit", "groupBy": ["host"], "columns": {"n": "sum(n)", "f": "first(n)"}}]), 25)
        .await;
}

#[tokio::test]
async fn what_needs_all_keys_says_so() {
    let cases = [
        (json!([{"type": "window", "period": "7s"}]), false),
        (json!([{"type": "window", "period": "7s", "align": "first", "groupBy": ["host"]}]), false),
        (
            json!([{"type": "window", "period": "7s", "groupBy": ["host"]}, {"type": "aggregate", "groupBy": [], "columns": {"n": "count(*)"}}]),
            false,
        ),
        (
            json!([{"type": "window", "period": "7s", "groupBy": ["host"]}, {"type": "dedupe", "by": ["host"], "last": 2}]),
            false,
        ),
        (json!([{"type": "group", "columns": ["host"]}, {"type": "window", "period": "7s"}]), false),
        (json!([{"type": "dedupe", "by": ["host"], "last": 2}]), false),
        (
            json!([{"type": "dedupe", "by": ["host"], "within": "2s"}, {"type": "sort", "by": ["time"], "per": "commit"}]),
            false,
        ),
        (
            json!([{"type": "threshold", "watch": "value", "as": "level", "default": 6, "increase": {"scale": 2, "after": "3s"}}]),
            false,
        ),
        (json!([{"type": "derivative", "columns": {"a": {"column": "n"}}, "neighbourhood": "2s"}]), false),
        (
            json!([{"type": "window", "period": "7s", "groupBy": ["host"]}, {"type": "map", "columns": {"a": "n"}}]),
            true,
        ),
    ];
    for (nodes, expected) in cases {
        let time = Some(TimeSpec::Column("time".into()));
        let trial = Trial { time, ..Trial::new(nodes, &[readings(1, 5)]) };
        let mut chain = trial.builder.chain(&trial.nodes, &mut BTreeMap::new()).await.unwrap();
        chain.shape(shape(&trial)).unwrap();
        assert_eq!(split_by_key(&trial.nodes) && chain.keys().is_some(), expected, "{:?}", trial.nodes);
    }
}

/// State is stored by it: it cannot change.
#[test]
fn the_bucket_of_a_key_is_the_same_for_ever() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some(""), Some("ü")]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, -1, i64::MAX, i64::MIN]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.5, f64::INFINITY, -1e300]));
    let of = |columns: &[(&str, &ArrayRef)], by: &[&str]| {
        let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
        let columns = columns.iter().map(|(name, array)| (*name, Arc::clone(array), true));
        let batch =
            Batch { origins: Origins::Each, ..Batch::held(RecordBatch::try_from_iter_with_nullable(columns).unwrap()) };
        let all: Vec<u16> = (0..BUCKETS).collect();
        let (_, shares) = Keys::over("k", &by, None).unwrap().split(batch, &all).unwrap();
        let Origins::Taken(rows) = &shares.rows.origins else { unreachable!("they were taken") };
        let each = shares.buckets.iter().flat_map(|(bucket, rows)| std::iter::repeat_n(*bucket, *rows));
        let mut buckets: Vec<(u32, u16)> = rows.iter().copied().zip(each).collect();
        buckets.sort_unstable();
        buckets.into_iter().map(|(_, bucket)| bucket).collect::<Vec<_>>()
    };
    assert_eq!(of(&[("s", &texts)], &["s"]), [11, 6, 8, 1, 11]);
    assert_eq!(of(&[("n", &numbers)], &["n"]), [12, 3, 13, 10, 2]);
    assert_eq!(of(&[("f", &floats)], &["f"]), [13, 13, 11, 11, 0]);
    assert_eq!(of(&[("s", &texts), ("n", &numbers)], &["s", "n"]), [4, 11, 6, 1, 11]);
    assert_eq!(of(&[("n", &numbers), ("s", &texts)], &["n", "s"]), [4, 11, 6, 1, 11]);
    let narrow: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![0, 1, -1]));
    assert_eq!(of(&[("n", &narrow)], &["n"]), of(&[("n", &numbers)], &["n"])[..3], "whatever its width");
}
