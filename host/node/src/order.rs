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
    array::{Int64Array, RecordBatch},
    compute::kernels::cmp::lt,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spout_data::{Part, Period};

use super::{
    Beside, Error, EventTime, Handled, Shape, Source, SourceEvent, TimeSettings, TimeSpec, Watermarks,
    arrival::{Arrivals, settings},
    state::{Held, TIME, bare, column},
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
    /// What reads their times, once it is known which these are.
    arrivals: Option<Arrivals>,
    /// What the last snapshot says of them, until then.
    stored: Option<Stored>,
    reached: Option<i64>,
    held: Held,
    /// Time of the first row that waits.
    first: Option<i64>,
}

/// What is stored besides the rows.
#[derive(Debug, Serialize, Deserialize)]
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
            arrivals: None,
            stored: None,
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
        let settings = settings(&self.handler, self.own.as_ref(), input)?;
        if let Some(Stored { settings: before, .. }) = self.stored.as_ref().filter(|it| !alike(&it.settings, &settings))
        {
            let word = |settings: &TimeSettings| serde_json::to_string(settings).unwrap_or_default();
            let what = format!("its `time` was {}, now it is {}", word(before), word(&settings));
            return Err(Error::Changed { handler: self.handler.clone(), what });
        }
        let arrivals = self.arrivals.get_or_insert_with(|| Arrivals::new(&self.handler, &settings));
        arrivals.set(&settings);
        if let Some(schema) = &input.schema {
            arrivals.check(schema)?;
        }
        if let Some(Stored { marks, .. }) = self.stored.take() {
            arrivals.resume(marks);
        }
        Ok(arrivals.event().clone())
    }

    /// The time of rows that went through here: none is out of order by more than `behind`.
    pub(super) fn after(&self, behind: Duration) -> Option<TimeSpec> {
        let settings = self.arrivals.as_ref()?.settings();
        Some(TimeSpec::Settings(TimeSettings { lateness: Period(behind), ..settings.clone() }))
    }

    /// What reads the time of rows, once that is known.
    pub(super) fn event(&self) -> Option<&EventTime> {
        self.arrivals.as_ref().map(Arrivals::event)
    }

    /// The rows that come next are some of a batch, of which this is the rest.
    pub(super) fn expect(&mut self, beside: Beside) {
        self.arrivals.iter_mut().for_each(|arrivals| arrivals.expect(beside.clone()));
    }

    pub(super) fn idle_after(&self) -> Option<Duration> {
        self.arrivals.as_ref().and_then(Arrivals::idle_after)
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
    pub(super) fn take(&mut self, batch: RecordBatch, from: Source) -> Result<(Handled, Vec<Ready>), Error> {
        let rows = batch.num_rows();
        let Some(arrivals) = &mut self.arrivals else {
            let reason = "its rows arrived before their columns were known; this is a bug in the host";
            return Err(Error::spec(&self.handler, reason));
        };
        let mut arrived = arrivals.take(batch, from)?;
        self.reached = arrivals.reached();
        let late = lt(&arrived.times, &arrived.passed).map_err(Error::kernel(&self.handler, rows))?;
        let handled = arrivals.sort_out(&mut arrived, &late)?;
        let ready = self.put(&arrived.records, &arrived.times, from)?;
        Ok((handled, ready))
    }

    /// Takes events of sources; the rows that can go on because of it.
    pub(super) fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Ready>, Error> {
        let Some(arrivals) = &mut self.arrivals else { return Ok(Vec::new()) };
        arrivals.on_event(event);
        self.reached = arrivals.reached();
        self.due()
    }

    /// All rows that still wait.
    pub(super) fn rest(&mut self) -> Result<Vec<Ready>, Error> {
        self.first = None;
        Ok(self.held.take_all()?.iter().map(ready).collect())
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let Some(arrivals) = &self.arrivals else { return Ok(BTreeMap::new()) };
        let stored = Stored { settings: arrivals.settings().clone(), marks: arrivals.marks().clone() };
        let json = serde_json::to_vec(&stored).map_err(|error| Error::state(&self.handler, error))?;
        let mut parts = self.held.snapshot()?;
        parts.insert(MARKS.into(), json.into());
        Ok(parts)
    }

    /// Takes its own parts out of those of a snapshot.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        let Some(marks) = parts.remove(MARKS) else { return Ok(()) };
        let mut stored: Stored = serde_json::from_slice(&marks)
            .map_err(|error| Error::state(&self.handler, format!("its part `{MARKS}`: {error}")))?;
        self.held.restore(parts)?;
        self.reached = stored.marks.advance();
        if let Some(reached) = self.reached {
            // These went on before the snapshot; their segment stands for the sake of others.
            drop(self.held.take_before(reached)?);
        }
        let times = self.held.batches().flat_map(|batch| column(batch, TIME).values().iter().copied());
        self.first = times.min();
        self.stored = Some(stored);
        Ok(())
    }

    /// Puts rows that are in time among those that wait, and takes out what the watermark has passed.
    fn put(&mut self, batch: &RecordBatch, times: &Int64Array, from: Source) -> Result<Vec<Ready>, Error> {
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
}

/// Whether state made under one can be gone on with under the other: what becomes of late and idle ones may change.
fn alike(before: &TimeSettings, now: &TimeSettings) -> bool {
    (&before.column, before.unit, before.lateness) == (&now.column, now.unit, now.lateness)
}

fn ready(held: &RecordBatch) -> Ready {
    Ready { records: bare(held), times: column(held, TIME).values().to_vec() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::AsArray, datatypes::Int64Type};

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
        times(&order.take(batch(&rows), source).unwrap().1)
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
        let (handled, _) = order("side").take(rows.clone(), A).unwrap();
        assert_eq!((handled.late_rows, handled.late[0].num_rows()), (1, 1));
        assert_eq!(handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [2]);
        let (handled, _) = order("drop").take(rows.clone(), A).unwrap();
        assert_eq!((handled.late_rows, handled.late.len()), (1, 0));
        let error = order("fail").take(rows, A).unwrap_err().to_string();
        assert!(error.contains("1 rows of a batch arrived too late, the first at 1970-01-01"), "{error}");
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
