//! The event time of rows as they arrive: what is read of each, which come too late, how far all sources are.

use std::{collections::BTreeSet, time::Duration};

use arrow::{
    array::{Array as _, BooleanArray, Int64Array, RecordBatch},
    compute::{filter, filter_record_batch, is_not_null},
    datatypes::Schema,
    error::ArrowError,
};
use bytes::Bytes;
use spout_data::Part;

use super::{
    Beside, Error, EventTime, Handled, Late, RowFault, Shape, Source, SourceEvent, TimeSettings, TimeSpec, Watermarks,
};

/// Before all time: the watermark of a source that has said nothing.
pub(crate) const NEVER: i64 = i64::MIN;

/// Reads event times, and keeps how far each source has come.
#[derive(Debug)]
pub(crate) struct Arrivals {
    handler: String,
    settings: TimeSettings,
    event: EventTime,
    marks: Watermarks,
    /// What the rows that come next have beside them elsewhere.
    beside: Option<Beside>,
}

/// Rows with an event time.
pub(crate) struct Arrived {
    pub(crate) records: RecordBatch,
    /// The event time of each, in nanoseconds.
    pub(crate) times: Int64Array,
    /// The watermark before each: [`NEVER`], or what its own source or all have passed.
    pub(crate) passed: Int64Array,
    /// The other rows: those without a time.
    pub(crate) faults: Vec<RowFault>,
}

impl Arrivals {
    pub(crate) fn new(handler: &str, settings: &TimeSettings) -> Self {
        Self {
            handler: handler.to_owned(),
            settings: settings.clone(),
            event: EventTime::new(handler, settings),
            marks: Watermarks::new(settings.lateness),
            beside: None,
        }
    }

    /// The rows that come next are some of a batch, of which this is the rest.
    pub(crate) fn expect(&mut self, beside: Beside) {
        self.beside = Some(beside);
    }

    pub(crate) fn handler(&self) -> &str {
        &self.handler
    }

    pub(crate) fn settings(&self) -> &TimeSettings {
        &self.settings
    }

    pub(crate) fn event(&self) -> &EventTime {
        &self.event
    }

    /// Reads times as `settings` say from here on; how far the sources have come stays.
    pub(crate) fn set(&mut self, settings: &TimeSettings) {
        (self.settings, self.event) = (settings.clone(), EventTime::new(&self.handler, settings));
    }

    /// How far each source has come.
    pub(crate) fn marks(&self) -> &Watermarks {
        &self.marks
    }

    /// Goes on from there.
    pub(crate) fn resume(&mut self, marks: Watermarks) {
        self.marks = marks;
    }

    /// Refuses rows without such a time.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), Error> {
        self.event.check(schema).map(drop)
    }

    /// Takes rows of one source, in order.
    pub(crate) fn take(&mut self, batch: RecordBatch, from: Source) -> Result<Arrived, Error> {
        let rows = batch.num_rows();
        let kernel = Error::kernel(&self.handler, rows);
        let times = self.event.of(&batch)?;
        let mut beside = self.beside.take();
        let mut arrived =
            Arrived { records: batch, times, passed: Int64Array::from_iter_values([]), faults: Vec::new() };
        if arrived.times.null_count() > 0 {
            let timed = is_not_null(&arrived.times).map_err(kernel)?;
            let fault = |row: usize| RowFault {
                row: row as u32,
                code: "time.missing".into(),
                reason: format!("column `{}` has no event time between the years 1677 and 2262", self.event.column()),
            };
            arrived.faults = (0..rows).filter(|&row| !timed.value(row)).map(fault).collect();
            arrived.records = filter_record_batch(&arrived.records, &timed).map_err(kernel)?;
            arrived.times = arrived.times.iter().flatten().collect();
            if let Some(beside) = &mut beside {
                beside.before = filter(&beside.before, &timed).map_err(kernel)?.to_data().into();
            }
        }
        arrived.passed = match beside {
            None => self.marks.passed(from, arrived.times.values()),
            Some(Beside { before, newest }) => self.marks.passed_among(from, before.values(), newest),
        }
        .into();
        Ok(arrived)
    }

    /// How far all sources are, once each has said something.
    pub(crate) fn reached(&mut self) -> Option<i64> {
        self.marks.advance()
    }

    pub(crate) fn on_event(&mut self, event: SourceEvent) {
        self.marks.on_event(event, self.idle_after());
    }

    /// How long a source may have nothing before nobody waits for it.
    pub(crate) fn idle_after(&self) -> Option<Duration> {
        self.settings.idle_after.map(|after| after.0)
    }

    /// Does with the rows for which `late` is true what the spec says; the others are left in `arrived`.
    pub(crate) fn sort_out(&self, arrived: &mut Arrived, late: &BooleanArray) -> Result<Handled, Error> {
        let mut handled = Handled { faults: std::mem::take(&mut arrived.faults), ..Handled::default() };
        if late.true_count() == 0 {
            return Ok(handled);
        }
        let rows = late.len();
        let kernel = Error::kernel(&self.handler, rows);
        let apart = filter_record_batch(&arrived.records, late).map_err(kernel)?;
        let first = late.values().set_indices().next().map_or(NEVER, |row| arrived.times.value(row));
        self.set_aside(&mut handled, apart, first)?;
        arrived.keep(&arrow::compute::not(late).map_err(kernel)?).map_err(kernel)?;
        Ok(handled)
    }

    /// Does with late rows, the first of them at `time`, what the spec says.
    pub(crate) fn set_aside(&self, handled: &mut Handled, late: RecordBatch, time: i64) -> Result<(), Error> {
        let rows = late.num_rows() as u64;
        handled.late_rows += rows;
        match self.settings.late {
            Late::Drop => {}
            Late::Side => handled.late.push(late),
            Late::Fail => return Err(Error::Late { handler: self.handler.clone(), rows, time: shown(time) }),
        }
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> Result<Part, Error> {
        serde_json::to_vec(&self.marks).map(Part::from).map_err(|error| self.damaged(&error))
    }

    pub(crate) fn restore(&mut self, bytes: &Bytes) -> Result<(), Error> {
        self.resume(serde_json::from_slice(bytes).map_err(|error| self.damaged(&error))?);
        self.marks.set_lateness(self.settings.lateness);
        Ok(())
    }

    fn damaged(&self, error: &serde_json::Error) -> Error {
        Error::state(&self.handler, format!("its watermarks: {error}"))
    }
}

impl Arrived {
    /// Makes faults of rows; they say which of the rows that are left.
    pub(crate) fn set_aside(&mut self, faults: Vec<RowFault>) -> Result<(), ArrowError> {
        if faults.is_empty() {
            return Ok(());
        }
        let rows = self.records.num_rows();
        // Those that went before them have made the others move up.
        let gone: BTreeSet<u32> = self.faults.iter().map(|fault| fault.row).collect();
        let places: Vec<u32> = (0..(rows + gone.len()) as u32).filter(|row| !gone.contains(row)).collect();
        let mut sound = vec![true; rows];
        for fault in faults {
            let Some(&row) = places.get(fault.row as usize) else { continue };
            sound[fault.row as usize] = false;
            self.faults.push(RowFault { row, ..fault });
        }
        self.keep(&BooleanArray::from(sound))
    }

    /// What is wrong with the other rows, where none of these is late.
    pub(crate) fn in_time(&mut self) -> Handled {
        Handled { faults: std::mem::take(&mut self.faults), ..Handled::default() }
    }

    /// Keeps the rows for which `mask` is true.
    pub(crate) fn keep(&mut self, mask: &BooleanArray) -> Result<(), ArrowError> {
        self.records = filter_record_batch(&self.records, mask)?;
        for times in [&mut self.times, &mut self.passed] {
            *times = filter(times, mask)?.to_data().into();
        }
        Ok(())
    }
}

/// The time that a handler works with: its own, or the one that flows in, with its own settings on top.
pub(crate) fn settings(handler: &str, own: Option<&TimeSpec>, input: &Shape) -> Result<TimeSettings, Error> {
    own.or(input.time.as_ref()).map(TimeSpec::settings).ok_or_else(|| {
        Error::spec(
            handler,
            "it needs the event time of rows; name their column with `time`, here or for the whole pipeline",
        )
    })
}

/// A time for people.
pub(crate) fn shown(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_or_else(|_| nanoseconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn arrivals(late: Late) -> Arrivals {
        Arrivals::new("w", &TimeSettings { late, ..TimeSpec::Column("t".into()).settings() })
    }

    fn arrive(arrivals: &mut Arrivals, times: &[Option<i64>]) -> Arrived {
        let column = Arc::new(Int64Array::from(times.to_vec()));
        arrivals.take(RecordBatch::try_from_iter([("t", column as _)]).unwrap(), Source::Merged).unwrap()
    }

    #[test]
    fn rows_without_a_time_are_faults_and_do_not_move_the_watermark() {
        let mut arrivals = arrivals(Late::Side);
        let arrived = arrive(&mut arrivals, &[Some(5), None, Some(3)]);
        assert_eq!(arrived.times.values().to_vec(), [5_000_000, 3_000_000]);
        assert_eq!(arrived.passed.values().to_vec(), [NEVER, 5_000_000]);
        assert_eq!(arrived.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1]);
        assert_eq!(arrivals.reached(), Some(5_000_000));
    }

    #[test]
    fn rows_are_set_aside_by_their_place_in_the_batch() {
        let mut arrived = arrive(&mut arrivals(Late::Side), &[None, Some(5), None, Some(6), Some(7)]);
        let fault = |row| RowFault { row, code: "c".into(), reason: "r".into() };
        arrived.set_aside(vec![fault(0), fault(2)]).unwrap();
        assert_eq!(arrived.times.values().to_vec(), [6_000_000]);
        arrived.set_aside(vec![fault(0)]).unwrap();
        assert_eq!(arrived.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [0, 2, 1, 4, 3]);
        assert_eq!((arrived.records.num_rows(), arrived.passed.len()), (0, 0));
    }

    #[test]
    fn late_rows_go_where_the_spec_says() {
        let check = |late: Late, kept: usize| {
            let mut arrivals = arrivals(late);
            let mut arrived = arrive(&mut arrivals, &[Some(5), Some(3), Some(9)]);
            let handled = arrivals.sort_out(&mut arrived, &BooleanArray::from(vec![false, true, false])).unwrap();
            assert_eq!((handled.late_rows, handled.late.len()), (1, kept));
            assert_eq!(arrived.times.values().to_vec(), [5_000_000, 9_000_000]);
            assert_eq!((arrived.records.num_rows(), arrived.passed.len()), (2, 2));
        };
        check(Late::Side, 1);
        check(Late::Drop, 0);
        let mut failing = arrivals(Late::Fail);
        let mut arrived = arrive(&mut failing, &[Some(5)]);
        let error = failing.sort_out(&mut arrived, &BooleanArray::from(vec![true])).unwrap_err();
        assert!(error.to_string().contains("1970-01-01T00:00:00.005Z"), "{error}");
    }

    #[test]
    fn a_restart_goes_on_with_the_lateness_of_the_spec() {
        let mut before = arrivals(Late::Side);
        arrive(&mut before, &[Some(5)]);
        let Part::New(bytes) = before.snapshot().unwrap() else { unreachable!("it is always written") };
        let patient = TimeSettings { lateness: "2ms".parse().unwrap(), ..TimeSpec::Column("t".into()).settings() };
        let mut after = Arrivals::new("w", &patient);
        after.restore(&bytes).unwrap();
        assert_eq!(after.reached(), Some(3_000_000));
    }
}
