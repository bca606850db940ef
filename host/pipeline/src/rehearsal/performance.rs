//! One run of a test: what came out of the handlers, step by step.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use spout_base::error::{Coded, Kind, chain};
use spout_data::{Aside, Batch, DeadLetter, PartitionId};
use spout_node::{Builder, Chain, Shape, Source, SourceEvent, States, Tables};
use spout_spec::{FaultSpec, LateSpec, StepSpec, TestSpec};

use super::{
    Error, Problem, Rehearsal, compare,
    rows::{self, Given},
    tables::TestTables,
};

/// How the messages or rows of a step are cut before they go into the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cutting {
    /// As few batches as can be.
    Whole,
    /// Every one alone.
    Single,
}

/// What stopped a run.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    code: &'static str,
    text: String,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Performance {
    /// By step; the last entry is what came at the very end.
    steps: Vec<Vec<RecordBatch>>,
    late: Vec<Aside>,
    dead: Vec<DeadLetter>,
    pub(super) failure: Option<Failure>,
    /// The columns that come out, where they are known without rows.
    schema: Option<SchemaRef>,
    /// What is wrong with the test itself.
    wrong: Vec<Problem>,
}

impl Performance {
    pub(super) async fn of(rehearsal: &Rehearsal, test: &TestSpec, cutting: Cutting) -> Result<Self, Error> {
        let mut performance = Self::default();
        let (tables, wrong) = TestTables::of(test, &rehearsal.spec.pipeline.name, &rehearsal.base).await?;
        if !wrong.is_empty() {
            performance.wrong = wrong;
            return Ok(performance);
        }
        let builder = Builder { tables: Tables::new(Arc::new(tables)), ..rehearsal.builder.clone() };
        let built = builder.chain(rehearsal.nodes(test), &mut States::new()).await;
        let mut chain = match built {
            Ok(chain) => chain,
            // A table that the test does not give is not there.
            Err(source) if matches!(source.kind(), Kind::Spec | Kind::Unavailable) => {
                performance.fail(&source);
                return Ok(performance);
            }
            Err(source) => {
                let pipeline = rehearsal.spec.pipeline.name.clone();
                return Err(Error::State { pipeline, doing: "opened", source: Box::new(source) });
            }
        };
        if let Err(stopped) = performance.play(rehearsal, test, cutting, &mut chain).await {
            performance.failure.get_or_insert(stopped);
        }
        Ok(performance)
    }

    async fn play(
        &mut self,
        rehearsal: &Rehearsal,
        test: &TestSpec,
        cutting: Cutting,
        chain: &mut Chain,
    ) -> Result<(), Failure> {
        let steps = test.all_steps();
        let Given { schema, batches, wrong } = {
            let given = rows::given(rehearsal, test, &steps, cutting).await;
            given.map_err(|e| failure(&e))?
        };
        if !wrong.is_empty() {
            self.wrong = wrong;
            return Ok(());
        }
        let shape = Shape { schema, time: rehearsal.spec.time.clone(), ..Shape::default() };
        chain.prepare(&shape).await.map_err(|e| failure(&e))?;
        self.schema = chain.shape(shape).map_err(|e| failure(&e))?.schema;
        let partitions: BTreeSet<PartitionId> = steps.iter().map(|step| rehearsal.partition_of(step)).collect();
        for &partition in &partitions {
            self.deliver(chain, SourceEvent::Opened(Source::Partition(partition))).await?;
        }
        let mut open = partitions;
        for (step, batches) in steps.iter().zip(batches) {
            self.steps.push(Vec::new());
            self.step(chain, rehearsal.partition_of(step), step, batches).await?;
            if step.ended {
                open.remove(&rehearsal.partition_of(step));
            }
        }
        self.steps.push(Vec::new());
        for partition in open {
            self.deliver(chain, SourceEvent::Ended(Source::Partition(partition))).await?;
        }
        let held = chain.finish().await.map_err(|e| failure(&e))?;
        self.take(held);
        self.deliver(chain, SourceEvent::Cut).await
    }

    async fn step(
        &mut self,
        chain: &mut Chain,
        partition: PartitionId,
        step: &StepSpec,
        batches: Vec<Batch>,
    ) -> Result<(), Failure> {
        for batch in batches {
            let given = chain.handle(batch).await.map_err(|e| failure(&e))?;
            self.take(given);
        }
        let source = Source::Partition(partition);
        if let Some(period) = step.idle {
            self.deliver(chain, SourceEvent::Idle(source, period.0)).await?;
        }
        if step.ended {
            self.deliver(chain, SourceEvent::Ended(source)).await?;
        }
        if step.cut {
            self.deliver(chain, SourceEvent::Cut).await?;
        }
        Ok(())
    }

    async fn deliver(&mut self, chain: &mut Chain, event: SourceEvent) -> Result<(), Failure> {
        let released = chain.on_event(event).await.map_err(|e| failure(&e))?;
        self.take(released);
        Ok(())
    }

    fn take(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            self.dead.extend(batch.dead);
            self.late.extend(batch.late);
            if self.steps.is_empty() {
                self.steps.push(Vec::new());
            }
            if let Some(step) = self.steps.last_mut()
                && batch.records.num_columns() > 0
            {
                step.push(batch.records);
            }
        }
    }

    fn fail(&mut self, error: &impl Coded) {
        self.failure = Some(failure(error));
    }

    /// Everything that is not as `test` expects.
    pub(super) fn check(&self, test: &TestSpec) -> Vec<Problem> {
        if !self.wrong.is_empty() {
            return self.wrong.clone();
        }
        let mut problems = Vec::new();
        self.check_failure(test, &mut problems);
        if let Some(expected) = &test.expect {
            let all: Vec<RecordBatch> = self.steps.iter().flatten().cloned().collect();
            problems.extend(compare::rows("the rows", expected, &all, self.schema.as_ref(), test));
        }
        for (index, step) in test.steps.iter().enumerate() {
            let Some(expected) = &step.expect else { continue };
            let none = Vec::new();
            let what = format!("the rows of step {}", index + 1);
            let got = self.steps.get(index).unwrap_or(&none);
            problems.extend(compare::rows(&what, expected, got, self.schema.as_ref(), test));
        }
        if let Some(expected) = &test.expect_schema {
            problems.extend(self.check_schema(expected.parse().unwrap_or_else(|_| Schema::empty())));
        }
        problems.extend(self.check_late(test));
        problems.extend(self.check_faults(&test.expect_errors));
        problems
    }

    fn check_failure(&self, test: &TestSpec, problems: &mut Vec<Problem>) {
        match (&test.expect_failure, &self.failure) {
            (None, None) => {}
            (None, Some(failure)) => {
                problems.push(Problem::of(format!("it stopped: [{}] {}", failure.code, failure.text)))
            }
            (Some(expected), None) => {
                problems.push(Problem::of(format!("it should have stopped with `{expected}`, but did not")));
            }
            (Some(expected), Some(failure)) => {
                if failure.code != expected && !failure.text.contains(expected.as_str()) {
                    let what = format!(
                        "it should have stopped with `{expected}`, but did with [{}] {}",
                        failure.code, failure.text
                    );
                    problems.push(Problem::of(what));
                }
            }
        }
    }

    fn check_schema(&self, expected: Schema) -> Option<Problem> {
        let first = self.steps.iter().flatten().next().map(RecordBatch::schema);
        let Some(got) = first.or_else(|| self.schema.clone()) else {
            return Some(Problem::of("no row came out, so the columns are unknown"));
        };
        let columns = |schema: &Schema| -> Vec<String> {
            schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect()
        };
        let (expected, got) = (columns(&expected), columns(&got));
        let differ = || format!("the columns should be {{{}}}, but are {{{}}}", expected.join(", "), got.join(", "));
        (expected != got).then(|| Problem::of(differ()))
    }

    fn check_late(&self, test: &TestSpec) -> Option<Problem> {
        let rows: u64 = self.late.iter().map(|aside| aside.rows).sum();
        let records = || -> Vec<RecordBatch> { self.late.iter().filter_map(|aside| aside.records.clone()).collect() };
        match &test.expect_late {
            Some(LateSpec::Rows(expected)) => compare::rows("the late rows", expected, &records(), None, test),
            expected => {
                let expected = match expected {
                    Some(LateSpec::Count(count)) => *count,
                    _ => 0,
                };
                let what = || Problem {
                    unexpected: compare::as_rows(&records()),
                    ..Problem::of(format!("{} should have come too late, but {rows} did", compare::counted(expected)))
                };
                (rows != expected).then(what)
            }
        }
    }

    fn check_faults(&self, expected: &[FaultSpec]) -> Option<Problem> {
        let fits = |(wanted, letter): (&FaultSpec, &DeadLetter)| {
            wanted.stage.as_ref().is_none_or(|stage| *stage == letter.stage)
                && wanted.code.as_ref().is_none_or(|code| *code == letter.code)
                && wanted.reason.as_ref().is_none_or(|reason| letter.reason.contains(reason.as_str()))
        };
        if expected.len() == self.dead.len() && expected.iter().zip(&self.dead).all(fits) {
            return None;
        }
        let what = format!("{} messages should have been set aside, but {} were", expected.len(), self.dead.len());
        let line = |letter: &DeadLetter| {
            let value = String::from_utf8_lossy(&letter.value);
            format!("+ {} {}: {} ({})", letter.stage, letter.code, letter.reason, value.trim_end())
        };
        let wanted = |fault: &FaultSpec| {
            let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "…".into());
            format!("- {} {}: {}", part(&fault.stage), part(&fault.code), part(&fault.reason))
        };
        let diff = expected.iter().map(wanted).chain(self.dead.iter().map(line)).collect();
        Some(Problem { diff, ..Problem::of(what) })
    }

    /// What differs from a run with the same rows in other batches.
    pub(super) fn same_as(&self, whole: &Self, test: &TestSpec) -> Vec<Problem> {
        let all = |of: &Self| -> Vec<RecordBatch> { of.steps.iter().flatten().cloned().collect() };
        let what = "when they come one by one, the rows";
        let mut problems: Vec<Problem> = compare::batches(what, &all(whole), &all(self), test).into_iter().collect();
        let late =
            |of: &Self| -> Vec<RecordBatch> { of.late.iter().filter_map(|aside| aside.records.clone()).collect() };
        problems.extend(compare::batches("when they come one by one, the late rows", &late(whole), &late(self), test));
        problems.extend(self.same_faults(whole));
        if let Some(failure) = &self.failure {
            let what = format!("when they come one by one, it stops: [{}] {}", failure.code, failure.text);
            problems.push(Problem::of(what));
        }
        problems
    }

    /// A verdict depends on the message alone.
    fn same_faults(&self, whole: &Self) -> Option<Problem> {
        let line = |letter: &DeadLetter| {
            format!("{} {}: {}", letter.stage, letter.code, String::from_utf8_lossy(&letter.value).trim_end())
        };
        let sorted = |of: &Self| {
            let mut lines: Vec<String> = of.dead.iter().map(line).collect();
            lines.sort_unstable();
            lines
        };
        let (wanted, got) = (sorted(whole), sorted(self));
        if wanted == got {
            return None;
        }
        let missing = wanted.iter().filter(|line| !got.contains(line)).map(|line| format!("- {line}"));
        let more = got.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+ {line}"));
        let what = format!("when they come one by one, {} are set aside instead of {}", got.len(), wanted.len());
        Some(Problem { diff: missing.chain(more).collect(), ..Problem::of(what) })
    }
}

fn failure<E: Coded>(error: &E) -> Failure {
    Failure { code: error.code(), text: chain(error) }
}
