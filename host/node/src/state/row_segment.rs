//! Rows that a [`RowStore`](super::RowStore) stores together, and two flags of each that may still change.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray, UInt64Array},
    compute::filter_record_batch,
    datatypes::{DataType, Field, Schema, UInt64Type},
    error::ArrowError,
};
use bytes::Bytes;

use super::segments::{bytes_of, decode, encode};

/// Segments of like size that become one.
pub(super) const FAN: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Of its rows, ascending.
    pub(super) ids: Vec<u64>,
    pub(super) records: RecordBatch,
    pub(super) gone: Vec<bool>,
    pub(super) marked: Vec<bool>,
    pub(super) alive: usize,
    pub(super) bytes: usize,
    pub(super) stored: bool,
    pub(super) flags: Flags,
}

/// What to store of a segment's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flags {
    None,
    Stored,
    Changed,
}

impl Segment {
    pub(super) fn new(ids: Vec<u64>, records: RecordBatch) -> Self {
        let (rows, bytes) = (ids.len(), bytes_of(&records));
        Self {
            ids,
            records,
            gone: vec![false; rows],
            marked: vec![false; rows],
            alive: rows,
            bytes,
            stored: false,
            flags: Flags::None,
        }
    }

    /// The same without the rows that are gone.
    pub(super) fn compacted(&self) -> Result<Self, ArrowError> {
        let keep: Vec<bool> = self.gone.iter().map(|gone| !gone).collect();
        let kept = |(index, keep): (usize, &bool)| keep.then_some(index);
        let rows: Vec<usize> = keep.iter().enumerate().filter_map(kept).collect();
        let records = filter_record_batch(&self.records, &BooleanArray::from(keep))?;
        let mut segment = Self::new(rows.iter().map(|&row| self.ids[row]).collect(), records);
        segment.marked = rows.iter().map(|&row| self.marked[row]).collect();
        segment.flags = if segment.marked.contains(&true) { Flags::Changed } else { Flags::None };
        Ok(segment)
    }

    /// Segments of one tier become one.
    pub(super) fn tier(&self) -> u32 {
        self.alive.max(1).ilog(FAN)
    }

    /// The part with its rows.
    pub(super) fn encode_rows(&self) -> Result<Bytes, ArrowError> {
        let ids: ArrayRef = Arc::new(UInt64Array::from(self.ids.clone()));
        let rows: ArrayRef = Arc::new(StructArray::from(self.records.clone()));
        let fields =
            vec![Field::new("id", DataType::UInt64, false), Field::new("rows", rows.data_type().clone(), false)];
        let schema = Schema::new_with_metadata(fields, self.records.schema_ref().metadata().clone());
        encode(&RecordBatch::try_new(Arc::new(schema), vec![ids, rows])?)
    }

    /// The part with their flags.
    pub(super) fn encode_flags(&self) -> Result<Bytes, ArrowError> {
        let flags = |flags: &[bool]| Arc::new(BooleanArray::from(flags.to_vec())) as ArrayRef;
        encode(&RecordBatch::try_from_iter([("gone", flags(&self.gone)), ("marked", flags(&self.marked))])?)
    }

    /// What these parts stand for.
    pub(super) fn read(rows: &Bytes, flags: Option<&Bytes>) -> Result<Self, ArrowError> {
        let stored = decode(rows.clone())?;
        let wrong = || ArrowError::SchemaError("not the rows of a handler".into());
        let ids = stored.column_by_name("id").and_then(|ids| ids.as_primitive_opt::<UInt64Type>()).ok_or_else(wrong)?;
        let inner = stored.column_by_name("rows").and_then(|rows| rows.as_struct_opt()).ok_or_else(wrong)?;
        let schema = Schema::new_with_metadata(inner.fields().clone(), stored.schema_ref().metadata().clone());
        let records = RecordBatch::try_new(Arc::new(schema), inner.columns().to_vec())?;
        if ids.is_empty() {
            return Err(wrong());
        }
        let mut segment = Self::new(ids.values().to_vec(), records);
        segment.stored = true;
        if let Some(flags) = flags {
            let flags = decode(flags.clone())?;
            let read = |name: &str| {
                let column = flags.column_by_name(name).and_then(|flags| flags.as_boolean_opt()).ok_or_else(wrong)?;
                let values: Vec<bool> = column.values().iter().collect();
                if values.len() == segment.ids.len() { Ok(values) } else { Err(wrong()) }
            };
            (segment.gone, segment.marked) = (read("gone")?, read("marked")?);
            segment.alive = segment.gone.iter().filter(|gone| !**gone).count();
            segment.flags = Flags::Stored;
        }
        Ok(segment)
    }
}
