//! The same rows under every cut: batches, commits, interleavings of sources, kills.
//!
//! [`Trial`] runs a chain over the rows of some sources once as a whole and then many times cut at random, with snapshots
//! taken and chains killed and restored on the way. What was committed has to be the same every time. Seeds are printed.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array as _, RecordBatch},
    datatypes::SchemaRef,
    util::display::{ArrayFormatter, FormatOptions},
};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_data::{Batch, Counts, Origins, Part, Position, Span};

use crate::{Builder, Chain, NodeSpec, Shape, Source, SourceEvent, TimeSpec, handlers::lookup::hosts};

/// A chain, and the rows of each source in their order.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// The handlers, as in a spec's `node`.
    pub(crate) nodes: Vec<NodeSpec>,
    /// The pipeline's event time.
    pub(crate) time: Option<TimeSpec>,
    /// The rows of partition 0, 1, and so on.
    pub(crate) sources: Vec<RecordBatch>,
    /// Whether commits are a part of what is asked (`per: commit`): they are then cut at the same rows every time.
    pub(crate) commits_count: bool,
    /// Whether the chain gives one order; without a handler that merges, only the rows of each source have one.
    pub(crate) ordered: bool,
    /// A column that rows have only from its first value on, as one that is added; what is before it is of another commit.
    pub(crate) added: Option<&'static str>,
    /// What opens the chain, with the plugins in it.
    pub(crate) builder: Builder,
}

/// What a run committed: rows as text with their column names, late rows, dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<String>,
    pub(crate) late: Vec<String>,
    pub(crate) dead: Vec<String>,
    pub(crate) late_rows: u64,
    /// Rows that handlers left out because that is what they are for.
    pub(crate) filtered: u64,
    /// Rows that handlers hold back or merged, less those that they released or made.
    pub(crate) kept: i64,
    /// Rows that went in.
    pub(crate) given: u64,
}

impl Trial {
    /// A trial of `nodes`, written as in a spec (JSON), over `sources`.
    pub(crate) fn new(nodes: serde_json::Value, sources: &[RecordBatch]) -> Self {
        let mut nodes: Vec<NodeSpec> = serde_json::from_value(nodes).expect("node specs");
        for (index, node) in nodes.iter_mut().enumerate() {
            let (kind, id) = node.named();
            if id.is_empty() {
                *id = format!("{kind}-{index}");
            }
        }
        let (sources, builder) = (sources.to_vec(), Builder { tables: hosts(), ..Builder::default() });
        Self { nodes, time: None, sources, commits_count: false, ordered: true, added: None, builder }
    }

    /// Runs it `times` times; every outcome must be that of the whole, which is given back.
    pub(crate) async fn same_under_any_cut(&self, times: u64) -> Outcome {
        let whole = self.settled(self.run(None).await);
        self.adds_up(&whole);
        for seed in 0..times {
            let cut = self.settled(self.run(Some(seed)).await);
            assert_eq!(cut, whole, "seed {seed} of {:?}", self.nodes);
        }
        whole
    }

    /// Where handlers only pass rows on or do not, each row is somewhere.
    fn adds_up(&self, whole: &Outcome) {
        let passes = |node: &NodeSpec| {
            matches!(node, NodeSpec::Filter(_) | NodeSpec::Sample(_) | NodeSpec::Dedupe(_) | NodeSpec::Throttle(_))
        };
        if self.nodes.iter().all(passes) {
            let given: usize = self.sources.iter().map(RecordBatch::num_rows).sum();
            let found = whole.rows.len() + whole.dead.len();
            assert_eq!(found as u64 + whole.late_rows + whole.filtered, given as u64, "{:?}", self.nodes);
            assert_eq!(whole.kept, 0, "they keep nothing for themselves: {:?}", self.nodes);
        }
    }

    /// Whether its handlers fit each other and the rows.
    pub(crate) async fn fits(&self) -> bool {
        let chain = self.builder.chain(&self.nodes, &mut BTreeMap::new()).await;
        chain.is_ok_and(|mut chain| chain.shape(self.shape()).is_ok())
    }

    /// What flows in; without the column that is added, if that is so yet.
    fn shape_with(&self, wide: bool) -> Shape {
        let all = self.sources.first();
        let schema: Option<SchemaRef> = all.map(|rows| if wide { rows.schema() } else { self.without(rows).schema() });
        Shape { schema, time: self.time.clone(), ..Shape::default() }
    }

    fn shape(&self) -> Shape {
        self.shape_with(true)
    }

    fn without(&self, rows: &RecordBatch) -> RecordBatch {
        let kept = |name: &String| self.added != Some(name.as_str());
        let schema = rows.schema();
        let kept = schema.fields().iter().enumerate().filter(|(_, field)| kept(field.name())).map(|(at, _)| at);
        rows.project(&kept.collect::<Vec<_>>()).expect("columns")
    }

    /// Lines of rows of before and after say the same of what has no value.
    fn said(&self, lines: Vec<String>) -> Vec<String> {
        let Some(added) = self.added else { return lines };
        let nothing = format!(" {added}=null");
        lines.into_iter().map(|line| line.replace(&nothing, "")).collect()
    }

    fn settled(&self, mut outcome: Outcome) -> Outcome {
        outcome.rows = self.said(outcome.rows);
        outcome.late = self.said(outcome.late);
        if !self.ordered {
            outcome.rows.sort();
        }
        outcome.late.sort();
        outcome.dead.sort();
        outcome
    }

    /// One run: as few and as large batches as can be without a seed, cut at random with one.
    pub(crate) async fn run(&self, seed: Option<u64>) -> Outcome {
        let mut dice = seed.map(StdRng::seed_from_u64);
        let mut run = Run::start(self).await;
        loop {
            let limits = run.limits(self.commits_count);
            let ready: Vec<usize> = (0..self.sources.len()).filter(|&at| run.taken[at] < limits[at]).collect();
            let Some(&first) = ready.first() else {
                if run.all_taken() {
                    break;
                }
                run.commit().await;
                continue;
            };
            let (source, rows) = match &mut dice {
                None => (first, limits[first] - run.taken[first]),
                Some(dice) => {
                    let source = ready[dice.random_range(0..ready.len())];
                    let most = dice.random_range(1..=8).min(limits[source] - run.taken[source]);
                    (source, dice.random_range(1..=most))
                }
            };
            run.give(source, rows).await;
            if let Some(dice) = &mut dice {
                if dice.random_ratio(1, 6) && !self.commits_count {
                    run.commit().await;
                }
                if dice.random_ratio(1, 8) {
                    run.kill().await;
                }
            }
        }
        run.end().await
    }
}

struct Run<'a> {
    trial: &'a Trial,
    chain: Chain,
    /// What the last commit holds.
    stored: BTreeMap<String, Bytes>,
    committed: (Vec<usize>, Outcome),
    /// Whether the column that is added is there, and was at the last commit.
    wide: (bool, bool),
    taken: Vec<usize>,
    open: Outcome,
}

impl<'a> Run<'a> {
    async fn start(trial: &'a Trial) -> Self {
        let none = vec![0; trial.sources.len()];
        let chain = Chain::default();
        let committed = (none.clone(), Outcome::default());
        let wide = (trial.added.is_none(), trial.added.is_none());
        let mut run =
            Self { trial, chain, stored: BTreeMap::new(), committed, wide, taken: none, open: Outcome::default() };
        run.kill().await;
        run
    }

    /// The rows of each source that may be taken now.
    fn limits(&self, commits_count: bool) -> Vec<usize> {
        let half = |(at, rows): (usize, &RecordBatch)| {
            let all = rows.num_rows();
            if commits_count && self.committed.0[at] < all / 2 { all / 2 } else { all }
        };
        self.trial.sources.iter().enumerate().map(half).collect()
    }

    fn all_taken(&self) -> bool {
        self.trial.sources.iter().zip(&self.taken).all(|(rows, taken)| rows.num_rows() == *taken)
    }

    /// Starts again from the last commit; what was not committed is gone.
    async fn kill(&mut self) {
        let mut states = self.stored.clone();
        let builder = &self.trial.builder;
        self.chain = builder.chain(&self.trial.nodes, &mut states).await.expect("a chain");
        builder.nothing_left(&states).expect("state of a handler");
        self.wide.0 = self.wide.1;
        self.chain.shape(self.trial.shape_with(self.wide.0)).expect("a shape");
        (self.taken, self.open) = (self.committed.0.clone(), Outcome::default());
        for source in 0..self.trial.sources.len() {
            self.deliver(SourceEvent::Opened(partition(source))).await;
        }
    }

    async fn give(&mut self, source: usize, rows: usize) {
        let from = self.taken[source];
        let mut records = self.trial.sources[source].slice(from, rows);
        let added = self.trial.added.and_then(|added| records.column_by_name(added));
        if !self.wide.0 && added.is_some_and(|added| added.null_count() < rows) {
            self.wide.0 = true;
            self.commit().await;
        }
        if !self.wide.0 {
            records = self.trial.without(&records);
        }
        let batch = Batch {
            records,
            span: Span {
                partition: (source as u32).into(),
                start: from as u64,
                next: Position::at((from + rows) as u64),
            },
            origins: Origins::Each,
            messages: Arc::default(),
            dead: Vec::new(),
            late: Vec::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
        };
        self.taken[source] += rows;
        self.open.given += rows as u64;
        let given = self.chain.handle(batch).await.expect("rows");
        self.open.take(given);
    }

    async fn deliver(&mut self, event: SourceEvent) {
        let released = self.chain.on_event(event).await.expect("event");
        self.open.take(released);
    }

    async fn commit(&mut self) {
        self.deliver(SourceEvent::Cut).await;
        self.save().await;
    }

    async fn save(&mut self) {
        let parts = self.chain.snapshot().await.expect("a snapshot");
        let part = |(name, part): (String, Part)| match part {
            Part::New(bytes) => (name, bytes),
            Part::Kept => {
                let bytes = self.stored.get(&name).unwrap_or_else(|| panic!("{name} is kept and was never stored"));
                (name, bytes.clone())
            }
        };
        self.stored = parts.into_iter().map(part).collect();
        self.wide.1 = self.wide.0;
        self.committed.0 = self.taken.clone();
        self.open.accounts_for_all(&self.trial.nodes);
        self.committed.1.add(std::mem::take(&mut self.open));
    }

    async fn end(mut self) -> Outcome {
        for source in 0..self.trial.sources.len() {
            self.deliver(SourceEvent::Ended(partition(source))).await;
        }
        let last = self.chain.finish().await.expect("an end");
        self.open.take(last);
        self.commit().await;
        self.committed.1
    }
}

impl Outcome {
    pub(crate) fn take(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            self.rows.extend(lines(&batch.records));
            self.filtered += batch.counts.filtered_rows();
            self.kept += batch.counts.kept_rows();
            self.dead.extend(batch.dead.iter().map(|letter| format!("{} {}", letter.stage, letter.code)));
            for aside in batch.late {
                self.late_rows += aside.rows;
                self.late.extend(aside.records.iter().flat_map(lines));
            }
        }
    }

    fn add(&mut self, mut more: Self) {
        self.rows.append(&mut more.rows);
        self.late.append(&mut more.late);
        self.dead.append(&mut more.dead);
        self.late_rows += more.late_rows;
        self.filtered += more.filtered;
        self.kept += more.kept;
        self.given += more.given;
    }

    /// Each row that went in is somewhere, in this commit alone.
    fn accounts_for_all(&self, nodes: &[NodeSpec]) {
        let fates = self.rows.len() as u64 + self.dead.len() as u64 + self.late_rows + self.filtered;
        assert_eq!(fates as i64 + self.kept, self.given as i64, "a commit of {nodes:?}: {self:?}");
    }
}

pub(crate) fn partition(source: usize) -> Source {
    Source::Partition((source as u32).into())
}

/// Each row as `name=value …`.
pub(crate) fn lines(records: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let formatters: Vec<ArrayFormatter<'_>> =
        records.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("a format")).collect();
    let schema = records.schema();
    let line = |row: usize| {
        let cells = schema.fields().iter().zip(&formatters);
        cells.map(|(field, cell)| format!("{}={}", field.name(), cell.value(row))).collect::<Vec<_>>().join(" ")
    };
    (0..records.num_rows()).map(line).collect()
}

/// Rows for any handler: `time` (ms, mostly rising, some out of order), `host` (with nulls), `value` and `n`.
pub(crate) fn readings(seed: u64, rows: usize) -> RecordBatch {
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
    let mut dice = StdRng::seed_from_u64(seed);
    let mut now = 0;
    let times: TimestampMillisecondArray = (0..rows)
        .map(|_| {
            now += dice.random_range(0..3_000);
            Some(now - dice.random_range(0..2_000))
        })
        .collect();
    let hosts: StringArray = (0..rows).map(|_| ["a", "b", "c"].get(dice.random_range(0..4)).copied()).collect();
    let values: Float64Array =
        (0..rows).map(|_| (!dice.random_ratio(1, 10)).then(|| f64::from(dice.random_range(0..40)) / 2.0)).collect();
    let numbers: Int64Array = (0..rows as i64).map(|n| Some(n + seed as i64 * 1_000)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("time", Arc::new(times) as _, true),
        ("host", Arc::new(hosts) as _, true),
        ("value", Arc::new(values) as _, true),
        ("n", Arc::new(numbers) as _, true),
    ])
    .expect("rows")
}
