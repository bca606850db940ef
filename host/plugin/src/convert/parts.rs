//! Record batches across the boundary: array nodes and raw buffers in pre-order, in Arrow's own layout.

use std::{panic, sync::Arc};

use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, make_array},
    buffer::Buffer,
    compute::cast,
    datatypes::{ArrowNativeType, DataType, Int32Type, Int64Type, SchemaRef},
    util::bit_util,
};

use crate::{
    LimitsSpec,
    batch::{Bytes, Lent},
    bindings::spout::plugin::types as wit,
};

/// The columns of `records` at `columns`, in this order.
///
/// # Errors
/// A column whose type the interface has no word for.
pub(crate) fn lower(records: &RecordBatch, columns: &[usize]) -> Result<Lent, String> {
    let mut out = Lowered::default();
    for &column in columns {
        out.array(records.column(column))?;
    }
    let rows = u32::try_from(records.num_rows()).map_err(|_| "the batch has more rows than 32 bits count")?;
    Ok(Lent { rows, nodes: out.nodes, buffers: out.buffers })
}

/// Views and dictionaries as the plain type that the guest was told.
///
/// # Errors
/// They are malformed.
pub(crate) fn plain(array: &ArrayRef) -> Result<ArrayRef, String> {
    let to = match array.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        _ => return Ok(Arc::clone(array)),
    };
    cast(array, &to).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Lowered {
    nodes: Vec<wit::ArrayNode>,
    buffers: Vec<Bytes>,
}

impl Lowered {
    fn push(&mut self, buffer: Buffer) {
        self.buffers.push(Bytes(buffer));
    }

    fn array(&mut self, array: &ArrayRef) -> Result<(), String> {
        let array = &plain(array)?;
        let data = array.to_data();
        let size = |count: usize| u32::try_from(count).map_err(|_| "an array has more than 4 Gi entries".to_owned());
        self.nodes.push(wit::ArrayNode { length: size(data.len())?, nulls: size(data.null_count())? });
        if data.data_type() == &DataType::Null {
            return Ok(());
        }
        let validity = data.nulls().filter(|nulls| nulls.null_count() > 0);
        self.push(validity.map(|nulls| nulls.inner().sliced()).unwrap_or_default());
        match data.data_type() {
            DataType::Boolean => self.push(array.as_boolean().values().sliced()),
            DataType::Utf8 | DataType::Binary => self.bytes::<i32>(&data)?,
            DataType::LargeUtf8 | DataType::LargeBinary => self.bytes::<i64>(&data)?,
            DataType::FixedSizeBinary(width) => self.fixed(&data, usize::try_from(*width).unwrap_or(0))?,
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let (from, to) = self.offsets::<i32>(list.offsets().inner().inner().clone());
                self.array(&list.values().slice(from, to - from))?;
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let (from, to) = self.offsets::<i64>(list.offsets().inner().inner().clone());
                self.array(&list.values().slice(from, to - from))?;
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (from, to) = self.offsets::<i32>(map.offsets().inner().inner().clone());
                let entries: ArrayRef = Arc::new(map.entries().slice(from, to - from));
                self.array(&entries)?;
            }
            DataType::FixedSizeList(_, width) => {
                let (list, width) = (array.as_fixed_size_list(), usize::try_from(*width).unwrap_or(0));
                let from = usize::try_from(list.value_offset(0)).unwrap_or(0);
                self.array(&list.values().slice(from, list.len() * width))?;
            }
            DataType::Struct(_) => array.as_struct().columns().iter().try_for_each(|column| self.array(column))?,
            other => match other.primitive_width() {
                Some(width) => self.fixed(&data, width)?,
                None => {
                    return Err(format!("plugins cannot read the type {other}; cast it with a map before the plugin"));
                }
            },
        }
        Ok(())
    }

    fn fixed(&mut self, data: &ArrayData, width: usize) -> Result<(), String> {
        let values = data.buffers().first().ok_or("an array without values")?;
        let bytes = run(values, data.offset() * width, data.len() * width)?;
        self.push(bytes);
        Ok(())
    }

    fn bytes<O: OffsetSizeTrait + ArrowNativeType>(&mut self, data: &ArrayData) -> Result<(), String> {
        let [offsets, values] = data.buffers() else { return Err("an array without values".into()) };
        let offsets = if data.is_empty() {
            Buffer::default()
        } else {
            run(offsets, data.offset() * size_of::<O>(), (data.len() + 1) * size_of::<O>())?
        };
        let (from, to) = self.offsets::<O>(offsets);
        self.push(run(values, from, to - from)?);
        Ok(())
    }

    /// Pushes offsets that start at 0; where the run they stand for begins and ends.
    fn offsets<O: OffsetSizeTrait + ArrowNativeType>(&mut self, buffer: Buffer) -> (usize, usize) {
        let offsets: &[O] = buffer.typed_data();
        let first = offsets.first().copied().unwrap_or_default();
        let last = offsets.last().copied().unwrap_or_default();
        let (from, to) = (first.as_usize(), last.as_usize());
        let from_zero = match (offsets.is_empty(), from) {
            (true, _) => Buffer::from_vec(vec![O::default()]),
            (_, 0) => buffer,
            _ => Buffer::from_vec(offsets.iter().map(|&offset| offset - first).collect::<Vec<O>>()),
        };
        self.push(from_zero);
        (from, to)
    }
}

/// A part of `buffer`, which stays where it is.
fn run(buffer: &Buffer, from: usize, length: usize) -> Result<Buffer, String> {
    if from.checked_add(length).is_some_and(|to| to <= buffer.len()) {
        Ok(buffer.slice_with_length(from, length))
    } else {
        Err("a buffer is too short".into())
    }
}

/// What a row takes at least, whatever its columns are: where it came from, and its place in each list of rows.
const ROW: u64 = 8;

/// What a guest says is a batch of `schema`, checked in full.
pub(crate) fn raise(schema: SchemaRef, told: wit::Parts, limits: &LimitsSpec) -> Result<RecordBatch, String> {
    let bytes: usize = told.buffers.iter().map(Vec::len).sum();
    if bytes as u64 > limits.answer.0 {
        return Err(format!("a batch of {bytes} bytes, more than `limits.answer` ({})", limits.answer));
    }
    if u64::from(told.rows) > limits.answer.0 / ROW {
        return Err(format!(
            "a batch of {} rows, more than one for each {ROW} bytes of `limits.answer` ({})",
            told.rows, limits.answer
        ));
    }
    // Validation is meant to return errors; should a kernel panic on something that a guest made up, the guest is at fault.
    match panic::catch_unwind(panic::AssertUnwindSafe(|| build(schema, told))) {
        Ok(built) => built,
        Err(_) => Err("the batch cannot be validated".into()),
    }
}

fn build(schema: SchemaRef, told: wit::Parts) -> Result<RecordBatch, String> {
    let rows = told.rows as usize;
    let mut parts = Raised { nodes: told.nodes.into_iter(), buffers: told.buffers.into_iter(), path: Vec::new() };
    let mut arrays = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        parts.path.push(field.name().clone());
        let data = parts.array(field.data_type(), Some(rows))?;
        parts.path.pop();
        arrays.push(make_array(data));
    }
    if parts.nodes.next().is_some() || parts.buffers.next().is_some() {
        return Err("the batch has more array nodes or buffers than its schema needs".into());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|error| error.to_string())
}

struct Raised {
    nodes: std::vec::IntoIter<wit::ArrayNode>,
    buffers: std::vec::IntoIter<Vec<u8>>,
    path: Vec<String>,
}

impl Raised {
    fn wrong(&self, what: &str) -> String {
        format!("column `{}`: {what}", self.path.join("."))
    }

    fn buffer(&mut self) -> Result<Buffer, String> {
        let bytes = self.buffers.next().ok_or_else(|| self.wrong("a buffer is missing"))?;
        Ok(Buffer::from_vec(bytes))
    }

    /// The next array; `length` if its parent or the batch says how long it must be.
    fn array(&mut self, data_type: &DataType, length: Option<usize>) -> Result<ArrayData, String> {
        let node = self.nodes.next().ok_or_else(|| self.wrong("an array node is missing"))?;
        let (len, nulls) = (node.length as usize, node.nulls as usize);
        if let Some(expected) = length.filter(|expected| *expected != len) {
            return Err(self.wrong(&format!("{len} entries where {expected} are needed")));
        }
        let mut builder = ArrayData::builder(data_type.clone()).len(len);
        if data_type == &DataType::Null {
            return builder.build().map_err(|error| self.wrong(&error.to_string()));
        }
        let validity = self.buffer()?;
        if validity.is_empty() {
            if nulls > 0 {
                return Err(self.wrong(&format!("{nulls} nulls and no validity")));
            }
        } else {
            if validity.len() < bit_util::ceil(len, 8) {
                return Err(self.wrong("the validity is too short"));
            }
            builder = builder.null_bit_buffer(Some(validity));
        }
        builder = match data_type {
            DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
                let offsets = self.buffer()?;
                builder.add_buffer(offsets).add_buffer(self.buffer()?)
            }
            DataType::List(item) | DataType::Map(item, _) => {
                let offsets = self.buffer()?;
                let child_len = end::<Int32Type>(&offsets, len);
                builder.add_buffer(offsets).add_child_data(self.child(item.name(), item.data_type(), child_len)?)
            }
            DataType::LargeList(item) => {
                let offsets = self.buffer()?;
                let child_len = end::<Int64Type>(&offsets, len);
                builder.add_buffer(offsets).add_child_data(self.child(item.name(), item.data_type(), child_len)?)
            }
            DataType::FixedSizeList(item, width) => {
                let child_len = usize::try_from(*width).unwrap_or(0).checked_mul(len);
                builder.add_child_data(self.child(item.name(), item.data_type(), child_len)?)
            }
            DataType::Struct(fields) => {
                for field in fields {
                    builder = builder.add_child_data(self.child(field.name(), field.data_type(), Some(len))?);
                }
                builder
            }
            _ => builder.add_buffer(self.buffer()?),
        };
        let built = builder.align_buffers(true).build().map_err(|error| self.wrong(&error.to_string()))?;
        if built.null_count() != nulls {
            return Err(self.wrong(&format!("{nulls} nulls are claimed and {} are there", built.null_count())));
        }
        Ok(built)
    }

    fn child(&mut self, name: &str, data_type: &DataType, length: Option<usize>) -> Result<ArrayData, String> {
        self.path.push(name.to_owned());
        let child = self.array(data_type, length)?;
        self.path.pop();
        Ok(child)
    }
}

/// The entry after which a list's items end, if the offsets say so at all; full validation follows.
fn end<T: arrow::datatypes::ArrowPrimitiveType>(offsets: &Buffer, len: usize) -> Option<usize>
where
    T::Native: TryInto<usize>,
{
    let width = size_of::<T::Native>();
    if len == 0 && offsets.is_empty() {
        return Some(0);
    }
    let bytes = offsets.as_slice().get(len * width..(len + 1) * width)?;
    let mut raw = [0_u8; 8];
    raw.get_mut(..width)?.copy_from_slice(bytes);
    match width {
        4 => usize::try_from(i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])).ok(),
        _ => usize::try_from(i64::from_le_bytes(raw)).ok(),
    }
}

#[cfg(test)]
mod tests;
