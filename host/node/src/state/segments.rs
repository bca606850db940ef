//! Record batches that are written once and kept by name, merged now and then.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, BooleanArray, RecordBatch},
    buffer::Buffer,
    compute::{concat_batches, filter_record_batch},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use bytes::Bytes;
use spout_data::Part;

use crate::Error;

/// So many segments of like size become one.
const FAN: usize = 4;
/// Segments of fewer rows than this are all of one size.
const SMALL: usize = 256;

/// What makes one batch, or fewer rows, of several of the same schema.
pub(crate) type Merge<'a> = &'a mut dyn FnMut(Vec<RecordBatch>) -> Result<RecordBatch, Error>;

/// Batches of which a snapshot writes those that came since the last one.
///
/// A segment is written under `<name>-<number>` and never changed; rows that go are left out in memory only, so a
/// restore leaves them out again. Segments without rows are dropped, those that are mostly gone are rewritten, and
/// [`FAN`] of like size are merged: a row is written again at most once for each size there is.
#[derive(Debug)]
pub(crate) struct Segments {
    handler: String,
    name: &'static str,
    next: u64,
    segments: Vec<Segment>,
    fresh: Vec<RecordBatch>,
    /// What all rows take, without the rest of the buffers that they may be a part of.
    bytes: usize,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    live: RecordBatch,
    /// Rows of it that are in the last snapshot; none if it is not there yet.
    written: Option<usize>,
}

impl Segments {
    /// None yet; parts are called `<name>-<number>`, and the handler in errors `handler`.
    pub(crate) fn new(handler: &str, name: &'static str) -> Self {
        Self { handler: handler.to_owned(), name, next: 0, segments: Vec::new(), fresh: Vec::new(), bytes: 0 }
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.bytes += bytes_of(&batch);
            self.fresh.push(batch);
        }
    }

    /// All rows, those written longest ago first.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.segments.iter().map(|segment| &segment.live).chain(&self.fresh).filter(|batch| batch.num_rows() > 0)
    }

    pub(crate) fn rows(&self) -> usize {
        self.batches().map(RecordBatch::num_rows).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts again what there is.
    fn count(&mut self) {
        self.bytes = self.batches().map(bytes_of).sum();
    }

    /// Removes the rows for which `gone` is true, and gives them.
    pub(crate) fn take(
        &mut self,
        mut gone: impl FnMut(&RecordBatch) -> Result<BooleanArray, Error>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let handler = &self.handler;
        let mut taken = Vec::new();
        for batch in self.segments.iter_mut().map(|segment| &mut segment.live).chain(&mut self.fresh) {
            if batch.num_rows() == 0 {
                continue;
            }
            let mask = gone(batch)?;
            if mask.true_count() == 0 {
                continue;
            }
            if mask.true_count() == batch.num_rows() {
                let empty = RecordBatch::new_empty(batch.schema());
                taken.push(std::mem::replace(batch, empty));
                continue;
            }
            taken.push(filter_record_batch(batch, &mask).map_err(Error::kernel(handler, batch.num_rows()))?);
            let rest = arrow::compute::not(&mask).map_err(Error::kernel(handler, batch.num_rows()))?;
            *batch = filter_record_batch(batch, &rest).map_err(Error::kernel(handler, batch.num_rows()))?;
        }
        self.fresh.retain(|batch| batch.num_rows() > 0);
        if !taken.is_empty() {
            self.count();
        }
        Ok(taken)
    }

    /// Lets go of whole batches.
    pub(crate) fn take_batches(&mut self, mut gone: impl FnMut(&RecordBatch) -> bool) {
        for batch in self.segments.iter_mut().map(|segment| &mut segment.live).chain(&mut self.fresh) {
            if batch.num_rows() > 0 && gone(batch) {
                *batch = RecordBatch::new_empty(batch.schema());
            }
        }
        self.fresh.retain(|batch| batch.num_rows() > 0);
        self.count();
    }

    /// All rows; none are left.
    pub(crate) fn take_all(&mut self) -> Vec<RecordBatch> {
        self.bytes = 0;
        let all = self.segments.drain(..).map(|segment| segment.live).chain(self.fresh.drain(..));
        all.filter(|batch| batch.num_rows() > 0).collect()
    }

    /// Its parts; `merge` makes one of several batches of the same schema.
    pub(crate) fn snapshot(&mut self, merge: Merge<'_>) -> Result<BTreeMap<String, Part>, Error> {
        self.settle(merge)?;
        let mut parts = BTreeMap::new();
        for segment in &mut self.segments {
            let part = match segment.written {
                Some(_) => Part::Kept,
                None => {
                    Part::New(encode(&segment.live).map_err(Error::kernel(&self.handler, segment.live.num_rows()))?)
                }
            };
            segment.written = segment.written.or(Some(segment.live.num_rows()));
            parts.insert(format!("{}-{}", self.name, segment.number), part);
        }
        Ok(parts)
    }

    /// Merges what is fresh once there is much of it, so that a look at all rows stays short between snapshots.
    pub(crate) fn tidy(&mut self, merge: Merge<'_>) -> Result<(), Error> {
        if self.fresh.len() >= FAN { self.settle(merge) } else { Ok(()) }
    }

    /// Takes its own parts out of those of a snapshot.
    pub(crate) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        let number = |key: &String| key.strip_prefix(self.name)?.strip_prefix('-')?.parse::<u64>().ok();
        let mut own: Vec<(u64, String)> = parts.keys().filter_map(|key| Some((number(key)?, key.clone()))).collect();
        own.sort_unstable();
        for (number, key) in own {
            let Some(bytes) = parts.remove(&key) else { continue };
            let live =
                decode(bytes).map_err(|error| Error::state(&self.handler, format!("its part `{key}`: {error}")))?;
            self.next = self.next.max(number + 1);
            self.segments.push(Segment { number, written: Some(live.num_rows()), live });
        }
        self.count();
        Ok(())
    }

    /// Makes segments of what is fresh, and fewer of many.
    fn settle(&mut self, merge: Merge<'_>) -> Result<(), Error> {
        self.segments.retain(|segment| segment.live.num_rows() > 0);
        for (_, batches) in by_schema(std::mem::take(&mut self.fresh)) {
            self.add(merge(batches)?);
        }
        for segment in &mut self.segments {
            if segment.written.is_some_and(|written| segment.live.num_rows() * 2 < written) {
                (segment.number, segment.written) = (self.next, None);
                self.next += 1;
            }
        }
        while let Some(like) = self.alike() {
            let (merged, rest) = std::mem::take(&mut self.segments).into_iter().partition(|segment| like(segment));
            let merged: Vec<Segment> = merged;
            self.segments = rest;
            self.add(merge(merged.into_iter().map(|segment| segment.live).collect())?);
        }
        self.count();
        Ok(())
    }

    fn add(&mut self, live: RecordBatch) {
        self.segments.push(Segment { number: self.next, live, written: None });
        self.next += 1;
    }

    /// The segments that should be merged into one.
    fn alike(&self) -> Option<impl Fn(&Segment) -> bool + use<>> {
        let mut counts: Vec<(SchemaRef, u32, usize)> = Vec::new();
        for segment in &self.segments {
            let (schema, size) = (segment.live.schema(), size(&segment.live));
            match counts.iter_mut().find(|known| known.0 == schema && known.1 == size) {
                Some(known) => known.2 += 1,
                None => counts.push((schema, size, 1)),
            }
        }
        let (schema, found, _) = counts.into_iter().find(|known| known.2 >= FAN)?;
        Some(move |segment: &Segment| size(&segment.live) == found && segment.live.schema() == schema)
    }
}

fn size(batch: &RecordBatch) -> u32 {
    (batch.num_rows() / SMALL).checked_ilog(FAN).map_or(0, |log| log + 1)
}

/// What the rows take, without the rest of the buffers that they may be a part of.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View | DataType::BinaryView => column.get_array_memory_size(),
        _ => column.to_data().get_slice_memory_size().unwrap_or_default(),
    };
    batch.columns().iter().map(of).sum()
}

/// Batches put together with others of their schema, in order of first appearance.
pub(crate) fn by_schema(batches: Vec<RecordBatch>) -> Vec<(SchemaRef, Vec<RecordBatch>)> {
    let mut found: Vec<(SchemaRef, Vec<RecordBatch>)> = Vec::new();
    for batch in batches {
        match found.iter_mut().find(|(schema, _)| *schema == batch.schema()) {
            Some((_, like)) => like.push(batch),
            None => found.push((batch.schema(), vec![batch])),
        }
    }
    found
}

/// One batch of several.
pub(crate) fn concat(handler: &str, batches: Vec<RecordBatch>) -> Result<RecordBatch, Error> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    match <[RecordBatch; 1]>::try_from(batches) {
        Ok([one]) => Ok(one),
        Err(many) => {
            let schema = many.first().map_or_else(|| Arc::new(arrow::datatypes::Schema::empty()), RecordBatch::schema);
            concat_batches(&schema, &many).map_err(Error::kernel(handler, rows))
        }
    }
}

/// A batch as the bytes of a part.
pub(crate) fn encode(batch: &RecordBatch) -> Result<Bytes, ArrowError> {
    // Views point into buffers that may hold far more than these rows.
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    let batch = RecordBatch::try_new(batch.schema(), batch.columns().iter().map(own).collect())?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

/// What [`encode`] gave.
pub(crate) fn decode(bytes: Bytes) -> Result<RecordBatch, ArrowError> {
    let mut buffer = Buffer::from(bytes);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        batches.extend(decoder.decode(&mut buffer)?);
    }
    decoder.finish()?;
    match batches.len() {
        1 => Ok(batches.remove(0)),
        other => Err(ArrowError::IpcError(format!("there are {other} batches in it"))),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::Int64Array, compute::kernels::cmp::lt, datatypes::Int64Type};

    use super::*;

    fn batch(numbers: std::ops::Range<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(numbers)) as _)]).unwrap()
    }

    fn numbers(segments: &Segments) -> Vec<i64> {
        let mut all: Vec<i64> =
            segments.batches().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        all.sort_unstable();
        all
    }

    /// What a store keeps of snapshots: the bytes by name.
    fn save(segments: &mut Segments, stored: &mut BTreeMap<String, Bytes>) -> usize {
        let parts = segments.snapshot(&mut |batches| concat("h", batches)).unwrap();
        let mut written = 0;
        let next = parts.into_iter().map(|(key, part)| match part {
            Part::New(bytes) => {
                written += bytes.len();
                (key, bytes)
            }
            Part::Kept => (key.clone(), stored[&key].clone()),
        });
        *stored = next.collect();
        written
    }

    fn below(limit: i64) -> impl FnMut(&RecordBatch) -> Result<BooleanArray, Error> {
        move |batch| Ok(lt(batch.column(0), &Int64Array::new_scalar(limit)).unwrap())
    }

    #[test]
    fn a_snapshot_writes_what_is_new_and_restores_what_is_held() {
        let (mut segments, mut stored) = (Segments::new("h", "rows"), BTreeMap::new());
        segments.push(batch(0..100_000));
        let whole = save(&mut segments, &mut stored);
        segments.push(batch(100_000..101_000));
        let more = save(&mut segments, &mut stored);
        assert!(more * 20 < whole, "{more} of {whole}");
        assert_eq!(save(&mut segments, &mut stored), 0);
        let mut back = Segments::new("h", "rows");
        let mut parts = stored.clone();
        parts.insert("rows".into(), Bytes::new());
        parts.insert("rows2-1".into(), Bytes::new());
        back.restore(&mut parts).unwrap();
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["rows", "rows2-1"]);
        assert_eq!(numbers(&back), (0..101_000).collect::<Vec<_>>());
        back.push(batch(101_000..101_001));
        assert!(save(&mut back, &mut stored) < more, "numbers go on where they were");
        assert_eq!(numbers(&back), (0..101_001).collect::<Vec<_>>());
    }

    #[test]
    fn segments_stay_few_and_what_is_gone_is_let_go_of() {
        let (mut segments, mut stored) = (Segments::new("h", "rows"), BTreeMap::new());
        let mut written = 0;
        for commit in 0..300 {
            segments.push(batch(commit * 100..commit * 100 + 100));
            let gone = segments.take(below(commit * 100 - 5_000)).unwrap();
            assert!(gone.iter().map(RecordBatch::num_rows).sum::<usize>() <= 100);
            written += save(&mut segments, &mut stored);
            assert!(stored.len() <= 3 * 6, "{} segments", stored.len());
        }
        assert_eq!(numbers(&segments), (24_900..30_000).collect::<Vec<_>>());
        assert!(written < 300 * 100 * 8 * 8, "{written} bytes for {} of rows", 300 * 100 * 8);
        let kept: usize = stored.values().map(Bytes::len).sum();
        assert!(kept < 5_100 * 8 * 4, "{kept}");
        segments.take(below(i64::MAX)).unwrap();
        save(&mut segments, &mut stored);
        assert!(stored.is_empty());
    }

    #[test]
    fn a_damaged_part_is_named() {
        let (mut segments, mut stored) = (Segments::new("h", "rows"), BTreeMap::new());
        segments.push(batch(0..10));
        save(&mut segments, &mut stored);
        let bytes = stored["rows-0"].clone();
        let mut damaged = [("rows-0".to_owned(), bytes.slice(..bytes.len() / 2))].into();
        let error = Segments::new("h", "rows").restore(&mut damaged).unwrap_err();
        assert!(error.to_string().contains("rows-0"), "{error}");
    }
}
