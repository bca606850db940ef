//! Brings the rows of all sources into one order that is the same every time.
//!
//! Rows wait until the watermark has passed them, and come out by event time, then by source, then as the source had them.
//!
//! ```text
//! partition 0: 1 4 9 ─┐                 watermark 6
//! partition 1: 2 3 6 ─┴─► Order::take ──────────────► 1 2 3 4     6 and 9 wait
//! ```
//!
//! A row is late if its own source has shown a newer one by more than the lateness: rows of the same time are never late.

use std::{collections::BTreeMap, time::Duration};

use arrow::{
    array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::{filter, filter_record_batch},
    datatypes::Int64Type,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spout_data::{Part, Period};

use super::{
    Error, EventTime, Handled, Late, RowFault, Shape, Source, SourceEvent, TimeSettings, TimeSpec, Watermarks,
    state::{Held, TIME, bare, column, kernel},
};

/// Rows in order, each with its time in nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) records: RecordBatch,
    pub(super) times: Vec<i64>,
}

/// Brings rows into order.
#[derive(Debug)]
pub(super) struct Order {
    handler: String,
    own: Option<TimeSpec>,
    /// How the time is read, once the spec has been seen together with what flows in.
    time: Option<(TimeSettings, EventTime)>,
    marks: Option<Watermarks>,
    /// Under which settings the state was made.
    before: Option<TimeSettings>,
    reached: Option<i64>,
    held: Held,
    /// Time of the first row that waits.
    first: Option<i64>,
}

/// What is stored besides the rows.
#[derive(Serialize, Deserialize)]
struct Stored {
    settings: TimeSettings,
    marks: Watermarks,
}

/// The part that is not rows, and what the names of those begin with.
const MARKS: &str = "marks";
const ROWS: &str = "waiting";

impl Order {
    /// An order by `time`, or where that is not given, by the time of what flows in.
    pub(super) fn new(handler: &str, time: Option<&TimeSpec>) -> Self {
        Self {
            handler: handler.to_owned(),
            own: time.cloned(),
            time: time.map(|time| reader(handler, time)),
            marks: None,
            before: None,
            reached: None,
            held: Held::new(handler, ROWS),
            first: None,
        }
    }

    /// How the time of rows is read.
    ///
    /// # Errors
    /// [`Error::Spec`] if nobody names the column, or it is no time; [`Error::Changed`] if the state was made under another.
    pub(super) fn shape(&mut self, input: &Shape) -> Result<EventTime, Error> {
        let spec = self.own.as_ref().or(input.time.as_ref()).ok_or_else(|| self.no_time())?;
        let (settings, event) = reader(&self.handler, spec);
        if let Some(before) = self.before.take().filter(|before| !alike(before, &settings)) {
            let word = |settings: &TimeSettings| serde_json::to_string(settings).unwrap_or_default();
            let what = format!("its `time` was {}, now it is {}", word(&before), word(&settings));
            return Err(Error::Changed { handler: self.handler.clone(), what });
        }
        if let Some(schema) = &input.schema {
            event.check(schema)?;
        }
        self.marks.get_or_insert_with(|| Watermarks::new(settings.lateness));
        self.time = Some((settings, event.clone()));
        Ok(event)
    }

    /// The time of rows that went through here: none is out of order by more than `behind`.
    pub(super) fn after(&self, behind: Duration) -> Option<TimeSpec> {
        let (settings, _) = self.time.as_ref()?;
        Some(TimeSpec::Settings(TimeSettings { lateness: Period(behind), ..settings.clone() }))
    }

    pub(super) fn idle_after(&self) -> Option<Duration> {
        self.time.as_ref().and_then(|(settings, _)| settings.idle_after).map(|period| period.0)
    }

    /// The time that all sources have passed: rows before it have been given.
    pub(super) fn reached(&self) -> Option<i64> {
        self.reached
    }

    /// How many rows wait.
    pub(super) fn rows(&self) -> usize {
        self.first.map_or(0, |_| self.held.rows())
    }

    /// How many bytes these take.
    pub(super) fn bytes(&self) -> usize {
        self.first.map_or(0, |_| self.held.bytes())
    }

    /// Takes rows; those that can go on, and in the answer what is wrong with others.
    ///
    /// # Errors
    /// [`Error::Late`] where late rows are to stop the pipeline.
    pub(super) fn take(&mut self, batch: &RecordBatch, from: Source) -> Result<(Handled, Vec<Ready>), Error> {
        let (settings, event) = self.time.as_ref().ok_or_else(|| self.no_time())?;
        let policy = settings.late;
        let times = event.of(batch)?;
        let mut handled = Handled { faults: without_time(&times, event), ..Handled::default() };
        let marks = self.marks.get_or_insert_with(|| Watermarks::new(settings.lateness));
        let known: Vec<i64> = times.iter().flatten().collect();
        let mut observed = marks.observe(from, &known, |time| time.saturating_add(1)).into_iter();
        self.reached = marks.advance();
        // What has no time is neither late nor in time.
        let late: Vec<Option<bool>> = times.iter().map(|time| time.and_then(|_| observed.next())).collect();
        let is = |what| BooleanArray::from(late.iter().map(|late| *late == Some(what)).collect::<Vec<_>>());
        let (late, good) = (is(true), is(false));
        let only = |mask| filter_record_batch(batch, mask).map_err(kernel(&self.handler, batch.num_rows()));
        handled.late_rows = late.true_count() as u64;
        if handled.late_rows > 0 {
            match policy {
                Late::Drop => {}
                Late::Side => handled.late.push(only(&late)?),
                Late::Fail => return Err(self.too_late(&times, &late)),
            }
        }
        if good.true_count() == batch.num_rows() {
            return Ok((handled, self.put(batch.clone(), &times, from)?));
        }
        let times = filter(&times, &good).map_err(kernel(&self.handler, batch.num_rows()))?;
        let ready = self.put(only(&good)?, times.as_primitive::<Int64Type>(), from)?;
        Ok((handled, ready))
    }

    /// Takes events of sources; the rows that can go on because of it.
    pub(super) fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Ready>, Error> {
        let idle_after = self.idle_after();
        let Some(marks) = &mut self.marks else { return Ok(Vec::new()) };
        match event {
            SourceEvent::Opened(source) => marks.opened(source),
            SourceEvent::Idle(source, since) if idle_after.is_some_and(|after| since >= after) => marks.idle(source),
            SourceEvent::Ended(source) => marks.ended(source),
            SourceEvent::Idle(..) | SourceEvent::Cut => return Ok(Vec::new()),
        }
        self.reached = marks.advance();
        self.due()
    }

    /// All rows that still wait.
    pub(super) fn rest(&mut self) -> Result<Vec<Ready>, Error> {
        self.first = None;
        Ok(self.held.take_all()?.iter().map(ready).collect())
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let (Some((settings, _)), Some(marks)) = (&self.time, &self.marks) else { return Ok(BTreeMap::new()) };
        let stored = Stored { settings: settings.clone(), marks: marks.clone() };
        let json = serde_json::to_vec(&stored).map_err(|error| self.damaged(&error.to_string()))?;
        let mut parts = self.held.snapshot()?;
        parts.insert(MARKS.into(), json.into());
        Ok(parts)
    }

    /// Takes its own parts out of those of a snapshot.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        let Some(marks) = parts.remove(MARKS) else { return Ok(()) };
        let Stored { settings, mut marks } =
            serde_json::from_slice(&marks).map_err(|error| self.damaged(&format!("its part `{MARKS}`: {error}")))?;
        self.held.restore(parts)?;
        self.reached = marks.advance();
        if let Some(reached) = self.reached {
            // These went on before the snapshot; their segment stands for the sake of others.
            drop(self.held.take_before(reached)?);
        }
        let times = self.held.batches().flat_map(|batch| column(batch, TIME).values().iter().copied());
        self.first = times.min();
        (self.before, self.marks) = (Some(settings), Some(marks));
        Ok(())
    }

    /// Puts rows that are in time among those that wait, and takes out what the watermark has passed.
    fn put(&mut self, batch: RecordBatch, times: &Int64Array, from: Source) -> Result<Vec<Ready>, Error> {
        let mut passed = 0;
        let mut gone = Vec::new();
        // Rows that are in order by themselves, with none waiting, need not wait either.
        if self.first.is_none() && times.values().is_sorted() {
            passed = times.values().partition_point(|time| self.reached.is_some_and(|reached| *time < reached));
            if passed > 0 {
                gone.push(Ready { records: batch.slice(0, passed), times: times.values()[..passed].to_vec() });
            }
        }
        let rest = batch.num_rows() - passed;
        if rest > 0 {
            let times = times.slice(passed, rest);
            self.held.append(&batch.slice(passed, rest), &times, from, &[])?;
            self.first = self.first.into_iter().chain(times.values().iter().copied()).min();
        }
        gone.extend(self.due()?);
        Ok(gone)
    }

    /// The rows that the watermark has passed, in order.
    fn due(&mut self) -> Result<Vec<Ready>, Error> {
        let Some(reached) = self.reached.filter(|reached| self.first.is_some_and(|first| first < *reached)) else {
            return Ok(Vec::new());
        };
        let batches = self.held.take_before(reached)?;
        let times = self.held.batches().flat_map(|batch| column(batch, TIME).values().iter().copied());
        self.first = times.min();
        Ok(batches.iter().map(ready).collect())
    }

    fn too_late(&self, times: &Int64Array, late: &BooleanArray) -> Error {
        let first = late.values().set_indices().next().map_or(0, |row| times.value(row));
        let text = jiff::Timestamp::from_nanosecond(first.into()).map(|at| at.to_string());
        let time = text.unwrap_or_else(|_| first.to_string());
        Error::Late { handler: self.handler.clone(), rows: late.true_count() as u64, time }
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::State { handler: self.handler.clone(), reason: reason.to_owned() }
    }

    fn no_time(&self) -> Error {
        Error::Spec {
            handler: self.handler.clone(),
            reason: "it needs the event time of rows; name their column with `time`, here or for the whole pipeline"
                .into(),
        }
    }
}

fn reader(handler: &str, time: &TimeSpec) -> (TimeSettings, EventTime) {
    let settings = time.settings();
    let event = EventTime::new(handler, &settings);
    (settings, event)
}

/// Whether state made under one can be gone on with under the other: what becomes of late and idle ones may change.
fn alike(before: &TimeSettings, now: &TimeSettings) -> bool {
    (&before.column, before.unit, before.lateness) == (&now.column, now.unit, now.lateness)
}

fn ready(held: &RecordBatch) -> Ready {
    Ready { records: bare(held), times: column(held, TIME).values().to_vec() }
}

fn without_time(times: &Int64Array, event: &EventTime) -> Vec<RowFault> {
    let missing = (0..times.len()).filter(|&row| times.is_null(row));
    let fault = |row| RowFault {
        row: u32::try_from(row).unwrap_or(u32::MAX),
        code: "time.missing".into(),
        reason: format!("the row has no event time in column \"{}\", or one out of 1677 to 2262", event.column()),
    };
    missing.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use spout_data::PartitionId;

    const A: Source = Source::Partition(PartitionId::numbered(0));
    const B: Source = Source::Partition(PartitionId::numbered(1));

    fn batch(times: &[Option<i64>]) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("t", Arc::new(Int64Array::from(times.to_vec())) as _, true)])
            .unwrap()
    }

    fn order(late: &str) -> Order {
        let spec = serde_json::json!({"column": "t", "unit": "ns", "lateness": "0.000003ms", "late": late});
        let mut order = Order::new("o", Some(&serde_json::from_value(spec).unwrap()));
        order.shape(&Shape { schema: Some(batch(&[]).schema()), ..Shape::default() }).unwrap();
        order.on_event(SourceEvent::Opened(A)).unwrap();
        order.on_event(SourceEvent::Opened(B)).unwrap();
        order
    }

    fn times(ready: &[Ready]) -> Vec<i64> {
        for ready in ready {
            assert_eq!(ready.records.column(0).as_primitive::<Int64Type>().values().to_vec(), ready.times);
        }
        ready.iter().flat_map(|ready| ready.times.clone()).collect()
    }

    fn give(order: &mut Order, source: Source, rows: &[i64]) -> Vec<i64> {
        let rows: Vec<Option<i64>> = rows.iter().copied().map(Some).collect();
        times(&order.take(&batch(&rows), source).unwrap().1)
    }

    #[test]
    fn rows_come_out_in_order_once_all_sources_have_passed_them() {
        let mut order = order("side");
        assert_eq!(give(&mut order, A, &[1, 4, 2, 9]), [0; 0]);
        assert_eq!(give(&mut order, B, &[3, 3, 8]), [1, 2, 3, 3, 4]);
        let mut parts = order.snapshot().unwrap().into_iter().map(|(name, part)| match part {
            Part::New(bytes) => (name, bytes),
            Part::Kept => unreachable!("it is the first snapshot"),
        });
        let mut again = self::order("side");
        again.restore(&mut parts.by_ref().collect()).unwrap();
        assert_eq!(times(&again.on_event(SourceEvent::Ended(B)).unwrap()), [0; 0]);
        assert_eq!(give(&mut again, A, &[14]), [8, 9]);
        assert_eq!(times(&again.rest().unwrap()), [14]);
    }

    #[test]
    fn late_rows_and_rows_without_a_time_are_told_apart() {
        let rows = batch(&[Some(10), Some(7), None, Some(6), Some(10)]);
        let (handled, _) = order("side").take(&rows, A).unwrap();
        assert_eq!((handled.late_rows, handled.late[0].num_rows()), (1, 1));
        assert_eq!(handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [2]);
        let (handled, _) = order("drop").take(&rows, A).unwrap();
        assert_eq!((handled.late_rows, handled.late.len()), (1, 0));
        let error = order("fail").take(&rows, A).unwrap_err().to_string();
        assert!(error.contains("1 rows of a batch came too late, the first at 1970-01-01"), "{error}");
    }

    #[test]
    fn another_time_is_another_state() {
        let parts = order("side").snapshot().unwrap().into_iter().map(|(name, part)| match part {
            Part::New(bytes) => (name, bytes),
            Part::Kept => unreachable!("it is the first snapshot"),
        });
        let mut other = Order::new("o", Some(&TimeSpec::Column("t".into())));
        other.restore(&mut parts.collect()).unwrap();
        let shape = Shape { schema: Some(batch(&[]).schema()), ..Shape::default() };
        assert!(matches!(other.shape(&shape), Err(Error::Changed { .. })));
        assert!(Order::new("o", None).shape(&shape).unwrap_err().to_string().contains("`time`"));
    }
}
