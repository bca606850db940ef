//! Batches as the interface's parts: array nodes and buffers in pre-order.

use spout_codec::{Array, Batch, Bits, Data, DataType, Field, Schema};

use crate::{Error, Result, wit::base::spout::plugin::types as wit};

/// `batch` as the host reads it.
#[must_use]
pub fn lower(batch: Batch) -> (Schema, wit::Parts) {
    let mut parts = wit::Parts { rows: batch.rows() as u32, nodes: Vec::new(), buffers: Vec::new() };
    let (schema, columns) = batch.into_parts();
    columns.into_iter().for_each(|column| lower_array(column, &mut parts));
    (schema, parts)
}

/// The batch that the host passed in.
///
/// # Errors
/// The parts do not make columns of `schema`.
pub fn raise(schema: Schema, parts: wit::Parts) -> Result<Batch> {
    let rows = parts.rows as usize;
    let mut raised = Raised { nodes: parts.nodes.into_iter(), buffers: parts.buffers.into_iter() };
    let columns = schema.fields().iter().map(|field| raised.array(field)).collect::<Result<_>>()?;
    Ok(Batch::new(schema, columns, rows)?)
}

fn lower_array(array: Array, parts: &mut wit::Parts) {
    let (len, validity, data) = array.into_parts();
    let null = matches!(data, Data::Null);
    let nulls = if null { len } else { validity.as_ref().map_or(0, Bits::unset) };
    parts.nodes.push(wit::ArrayNode { length: len as u32, nulls: nulls as u32 });
    if null {
        return;
    }
    parts.buffers.push(validity.map(Bits::into_bytes).unwrap_or_default());
    match data {
        Data::Null => {}
        Data::Bits(bits) => parts.buffers.push(bits.into_bytes()),
        Data::Fixed { bytes, .. } => parts.buffers.push(bytes),
        Data::Bytes { offsets, bytes, large } => {
            parts.buffers.push(if large { wide(&offsets) } else { narrow(offsets) });
            parts.buffers.push(bytes);
        }
        Data::List { offsets, items, large } => {
            parts.buffers.push(if large { wide(&offsets) } else { narrow(offsets) });
            lower_array(*items, parts);
        }
        Data::FixedList { items, .. } => lower_array(*items, parts),
        Data::Struct(fields) => fields.into_iter().for_each(|field| lower_array(field, parts)),
    }
}

fn narrow(offsets: Vec<i32>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(offsets.len() * 4);
    offsets.iter().for_each(|offset| bytes.extend_from_slice(&offset.to_le_bytes()));
    bytes
}

fn wide(offsets: &[i32]) -> Vec<u8> {
    offsets.iter().flat_map(|&offset| i64::from(offset).to_le_bytes()).collect()
}

struct Raised {
    nodes: std::vec::IntoIter<wit::ArrayNode>,
    buffers: std::vec::IntoIter<Vec<u8>>,
}

impl Raised {
    fn buffer(&mut self) -> Result<Vec<u8>> {
        self.buffers.next().ok_or_else(|| Error::fatal("batch.parts", "a buffer is missing"))
    }

    fn array(&mut self, field: &Field) -> Result<Array> {
        let node = self.nodes.next().ok_or_else(|| Error::fatal("batch.parts", "an array node is missing"))?;
        let len = node.length as usize;
        if field.data_type == DataType::Null {
            return Ok(Array::new(len, None, Data::Null));
        }
        let validity = self.buffer()?;
        let validity = (!validity.is_empty()).then(|| Bits::from_bytes(validity, len));
        let data = match &field.data_type {
            DataType::Null => Data::Null,
            DataType::Boolean => Data::Bits(Bits::from_bytes(self.buffer()?, len)),
            DataType::Utf8 | DataType::Binary => {
                Data::Bytes { offsets: offsets::<4>(&self.buffer()?)?, bytes: self.buffer()?, large: false }
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                Data::Bytes { offsets: offsets::<8>(&self.buffer()?)?, bytes: self.buffer()?, large: true }
            }
            DataType::List(item) | DataType::Map(item) => {
                Data::List { offsets: offsets::<4>(&self.buffer()?)?, items: Box::new(self.array(item)?), large: false }
            }
            DataType::LargeList(item) => {
                Data::List { offsets: offsets::<8>(&self.buffer()?)?, items: Box::new(self.array(item)?), large: true }
            }
            DataType::FixedSizeList(item, length) => {
                Data::FixedList { length: *length as usize, items: Box::new(self.array(item)?) }
            }
            DataType::Struct(fields) => {
                Data::Struct(fields.iter().map(|field| self.array(field)).collect::<Result<_>>()?)
            }
            fixed => Data::Fixed { width: fixed.width().unwrap_or(8), bytes: self.buffer()? },
        };
        Ok(Array::new(len, validity, data))
    }
}

fn offsets<const WIDTH: usize>(bytes: &[u8]) -> Result<Vec<i32>> {
    let offset = |chunk: &[u8]| match chunk.len() {
        4 => chunk.try_into().ok().map(i32::from_le_bytes),
        _ => chunk.try_into().ok().map(i64::from_le_bytes).and_then(|offset| i32::try_from(offset).ok()),
    };
    let too_large = || Error::fatal("batch.parts", "a column of more than 2 GiB");
    bytes.chunks_exact(WIDTH).map(|chunk| offset(chunk).ok_or_else(too_large)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_crosses_and_comes_back() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64), Field::new("t", DataType::LargeUtf8)]);
        let texts: Array = [Some("a"), None].into_iter().collect();
        let (len, validity, data) = texts.into_parts();
        let Data::Bytes { offsets, bytes, .. } = data else { panic!("texts") };
        let texts = Array::new(len, validity, Data::Bytes { offsets, bytes, large: true });
        let batch = Batch::new(schema, vec![[1_i64, 2].into_iter().collect(), texts], 2).unwrap();
        let (schema, parts) = lower(batch.clone());
        let told = super::super::schema::raise(super::super::schema::lower(&schema)).unwrap();
        assert_eq!(raise(told, parts).unwrap(), batch);
    }
}
