//! Native decoders of the decoding core: the same code that plugins run, over the host's messages as they lie.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use spout_codec::{Attribute, Decode, Input, TOO_LARGE, UnknownField, csv::is_open, record_batch};
use spout_data::{Messages, Origins};
use spout_plugin::RowFault;

use super::{Native, Rows};
use crate::Error;

/// Messages of one call. More are decoded in slices, so that no column grows beyond what its offsets reach.
const SLICE: usize = 8192;

/// Bytes that the rows of one call may take, and how many more for each byte of its messages: nulls take room too.
const ROOM: usize = 64 << 20;
const GROWTH: usize = 16;

/// A decoder of the core.
#[derive(Debug)]
pub(super) struct Core {
    name: &'static str,
    decoder: Box<dyn Decode>,
    /// The columns of its batches, in its words and in Arrow's.
    columns: Option<(spout_codec::Schema, SchemaRef)>,
}

impl Core {
    fn new(name: &'static str, decoder: impl Decode + 'static) -> Self {
        Self { name, decoder: Box::new(decoder), columns: None }
    }

    /// Opens what `make` makes for rows of `schema`, or of what the first messages suggest.
    ///
    /// # Errors
    /// A setting that cannot work, a column of a type that no value has.
    pub(super) fn open<D: Decode + 'static>(
        name: &'static str,
        schema: Option<&SchemaRef>,
        make: impl FnOnce(Option<spout_codec::Schema>) -> spout_codec::Result<D>,
    ) -> Result<Box<dyn Native>, String> {
        let decoder = make(columns(schema)?).map_err(|error| error.to_string())?;
        Ok(Box::new(Self::new(name, decoder)))
    }

    /// What becomes of one message whose rows take more than `most` bytes.
    fn too_large(&self, most: usize) -> spout_codec::Decoded {
        let reason = format!(
            "the rows of the message would take more than {most} bytes in memory, {GROWTH} times its size and {ROOM} more; send it in parts, or declare fewer columns"
        );
        let fault = spout_codec::RowFault { message: 0, code: format!("{}.size", self.name).into(), reason };
        spout_codec::Decoded { faults: vec![fault], ..Default::default() }
    }

    fn kernel(&self, rows: usize, error: impl std::fmt::Display) -> Error {
        let source = arrow::error::ArrowError::ExternalError(error.to_string().into());
        Error::Kernel { decoder: self.name.into(), rows, source }
    }
}

impl Native for Core {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let input = messages.input();
        let mut slices = Slices::default();
        let slice = |from: usize| from..(from + SLICE).min(messages.len());
        let mut left: Vec<Range<usize>> = (0..messages.len()).step_by(SLICE).map(slice).rev().collect();
        while let Some(range) = left.pop() {
            let (from, count) = (range.start, range.len());
            let (nulls, attributes);
            let part = if count == messages.len() {
                input
            } else {
                nulls = nulls_of(input.nulls, from, count);
                attributes = attributes_of(input.attributes, from, count);
                Input {
                    bounds: input.bounds.get(from..=from + count).unwrap_or_default(),
                    bytes: input.bytes,
                    nulls: &nulls,
                    timestamps_ms: input.timestamps_ms.get(from..from + count).unwrap_or_default(),
                    attributes: &attributes,
                }
            };
            let most = ROOM.saturating_add(GROWTH.saturating_mul(bytes(&part)));
            self.decoder.limit(most);
            let decoded = match self.decoder.decode(&part) {
                Err(spout_codec::Error::Batch { code: TOO_LARGE, .. }) if count > 1 => {
                    let middle = from + count / 2;
                    left.extend([middle..range.end, from..middle]);
                    continue;
                }
                Err(spout_codec::Error::Batch { code: TOO_LARGE, .. }) => self.too_large(most),
                decoded => decoded.map_err(|error| match error {
                    spout_codec::Error::Config(reason) => Error::Schema { decoder: self.name.into(), reason },
                    error => self.kernel(count, error),
                })?,
            };
            if let Some(advice) = self.decoder.take_advice() {
                tracing::warn!(decoder = self.name, "{advice}");
            }
            slices.add(from, &part, decoded, &mut self.columns).map_err(|error| self.kernel(count, error))?;
        }
        slices.finish(self.decoder.schema()).map_err(|error| self.kernel(messages.len(), error))
    }

    fn added(&mut self, messages: &Messages, unknown: &[UnknownField]) -> Result<SchemaRef, Error> {
        let added = self.decoder.added(&messages.input(), unknown);
        Ok(Arc::new(Schema::from(&added.map_err(|error| self.kernel(messages.len(), error))?)))
    }
}

/// The columns of `schema` in the core's words.
pub(super) fn columns(schema: Option<&SchemaRef>) -> Result<Option<spout_codec::Schema>, String> {
    let columns = schema.map(|schema| spout_codec::Schema::try_from(&**schema)).transpose();
    columns.map_err(|error| error.to_string())
}

/// What the slices of one run of messages came to.
#[derive(Default)]
struct Slices {
    batches: Vec<RecordBatch>,
    origins: Vec<u32>,
    /// Whether every message so far has its row, one each.
    each: bool,
    messages: usize,
    faults: Vec<RowFault>,
    unknown: Vec<UnknownField>,
}

impl Slices {
    fn add(
        &mut self,
        from: usize,
        input: &Input<'_>,
        decoded: spout_codec::Decoded,
        columns: &mut Option<(spout_codec::Schema, SchemaRef)>,
    ) -> Result<(), spout_codec::Error> {
        let spout_codec::Decoded { batch, origins, faults, unknown } = decoded;
        let moved = |message: u32| message + u32::try_from(from).unwrap_or(u32::MAX);
        let rows = batch.rows();
        self.each = (self.messages == 0 || self.each) && origins.is_empty() && rows == input.len();
        self.messages += input.len();
        if origins.is_empty() {
            let mut faulty = faults.iter().map(|fault| fault.message).peekable();
            let count = u32::try_from(input.len()).unwrap_or(u32::MAX);
            self.origins
                .extend((0..count).filter(|message| faulty.next_if_eq(message).is_none()).take(rows).map(moved));
        } else {
            self.origins.extend(origins.into_iter().map(moved));
        }
        let fault = |fault: spout_codec::RowFault| RowFault {
            message: moved(fault.message),
            code: fault.code.into_owned(),
            reason: fault.reason,
        };
        self.faults.extend(faults.into_iter().map(fault));
        for field in unknown {
            match self.unknown.iter_mut().find(|known| known.name == field.name) {
                Some(known) => known.count += field.count,
                None => self.unknown.push(field),
            }
        }
        // Before a schema is settled there are no columns to put together, or none with a type.
        if !is_open(batch.schema()) {
            let known = columns.take().filter(|(schema, _)| schema.is(batch.schema()));
            let (_, columns) =
                columns.insert(known.unwrap_or_else(|| (batch.schema().clone(), Arc::new(batch.schema().into()))));
            self.batches.push(record_batch(batch, Arc::clone(columns))?);
        }
        Ok(())
    }

    fn finish(mut self, schema: Option<&spout_codec::Schema>) -> Result<Rows, arrow::error::ArrowError> {
        let open = schema.filter(|schema| is_open(schema)).map(|schema| SchemaRef::new(schema.into()));
        let schema: SchemaRef = match (self.batches.first(), schema) {
            (Some(first), _) => first.schema(),
            (None, Some(schema)) if !is_open(schema) => Arc::new(schema.into()),
            (None, _) => Arc::new(arrow::datatypes::Schema::empty()),
        };
        let records = match (self.batches.len(), self.batches.pop()) {
            (1, Some(only)) => only,
            (_, Some(last)) => {
                self.batches.push(last);
                arrow::compute::concat_batches(&schema, &self.batches)?
            }
            (_, None) => RecordBatch::new_empty(schema),
        };
        let origins = if self.each { Origins::Each } else { Origins::Taken(self.origins.into()) };
        Ok(Rows { records, origins, faults: self.faults, unknown: self.unknown, open })
    }
}

/// Bytes of the messages of `input`.
fn bytes(input: &Input<'_>) -> usize {
    let at = |bound: Option<&u32>| bound.copied().unwrap_or_default() as usize;
    at(input.bounds.last()).saturating_sub(at(input.bounds.first()))
}

/// The nulls among `count` messages from `from` on.
fn nulls_of(nulls: &[u32], from: usize, count: usize) -> Vec<u32> {
    let moved = |null: &u32| (*null as usize).checked_sub(from).filter(|null| *null < count);
    nulls.iter().filter_map(moved).filter_map(|null| u32::try_from(null).ok()).collect()
}

/// The attributes of `count` messages from `from` on: those that hold already hold from the first one.
fn attributes_of(attributes: &[Attribute], from: usize, count: usize) -> Vec<Attribute> {
    let mut part: Vec<Attribute> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| (attribute.first as usize) < from + count) {
        let first = u32::try_from((attribute.first as usize).saturating_sub(from)).unwrap_or(u32::MAX);
        part.retain(|other| other.first != first || other.name != attribute.name);
        part.push(Attribute { first, ..attribute.clone() });
    }
    part
}

#[cfg(test)]
mod tests {
    use spout_codec::{ArrayBuilder, Batch, DataType, Decoded, Field, Schema};

    use super::{Attribute, Core, Decode, Input, Messages, Native as _, SLICE, UnknownField};

    /// One row a message: its length and the length of its file's name; empty messages are faults.
    #[derive(Debug)]
    struct Lengths(Schema);

    impl Decode for Lengths {
        fn decode(&mut self, input: &Input<'_>) -> spout_codec::Result<Decoded> {
            assert!(input.len() <= SLICE);
            let (mut lengths, mut files) = (ArrayBuilder::new(&DataType::Int64), ArrayBuilder::new(&DataType::Int64));
            let (mut origins, mut faults) = (Vec::new(), Vec::new());
            for index in 0..input.len() {
                let message = u32::try_from(index).unwrap();
                if input.nulls.contains(&message) {
                    continue;
                }
                if input.value(index).is_empty() {
                    faults.push(spout_codec::RowFault { message, code: "x".into(), reason: String::new() });
                    continue;
                }
                lengths.push_fixed((input.value(index).len() as i64).to_le_bytes());
                files.push_fixed((input.attribute(index, "file").map_or(0, <[u8]>::len) as i64).to_le_bytes());
                origins.push(message);
            }
            let rows = lengths.len();
            let batch = Batch::new(self.0.clone(), vec![lengths.finish(), files.finish()], rows)?;
            if input.nulls.is_empty() {
                origins.clear();
            }
            Ok(Decoded { batch, origins, faults, unknown: vec![UnknownField { name: "n".into(), count: 1 }] })
        }

        fn schema(&self) -> Option<&Schema> {
            Some(&self.0)
        }
    }

    #[test]
    fn slices_come_to_the_same_as_one_message_at_a_time() {
        let schema = Schema::new(vec![Field::new("length", DataType::Int64), Field::new("file", DataType::Int64)]);
        let mut messages = Messages::default();
        for index in 0..2 * SLICE + 10 {
            messages.values.push(&b"xxxxxxx"[..index % 7]);
        }
        messages.nulls = vec![1, 8192, 8193, 16390];
        let attribute = |first, value: &[u8]| Attribute { first, name: "file".into(), value: value.to_vec() };
        messages.attributes = vec![attribute(5, b"ab"), attribute(9000, b""), attribute(16385, b"abc")];
        let mut core = Core::new("lengths", Lengths(schema));
        let whole = core.decode(&messages).unwrap();
        let (mut rows, mut faults) = (0, 0);
        for index in 0..messages.len() {
            let one = core.decode(&messages.slice(index..index + 1)).unwrap();
            if one.records.num_rows() == 1 {
                assert_eq!(whole.origins.message(rows), Some(index));
                assert_eq!(whole.records.slice(rows, 1), one.records);
                rows += 1;
            }
            for fault in one.faults {
                assert_eq!(whole.faults[faults].message as usize, index + fault.message as usize);
                faults += 1;
            }
        }
        assert_eq!((whole.records.num_rows(), whole.faults.len(), whole.unknown[0].count), (rows, faults, 3));
    }
}
