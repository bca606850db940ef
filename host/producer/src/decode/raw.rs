//! `raw`: payloads as they are, in the columns `key` and `value`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BinaryArray, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use spout_data::{Messages, Origins};

use super::{Native, Rows};
use crate::Error;

/// A running `raw` decoder.
#[derive(Debug)]
pub(super) struct RawDecoder {
    schema: SchemaRef,
}

/// `key` and `value`, both Binary.
pub(super) fn schema() -> SchemaRef {
    let column = |name| Field::new(name, DataType::Binary, true);
    Arc::new(Schema::new(vec![column("key"), column("value")]))
}

impl Default for RawDecoder {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

impl Native for RawDecoder {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let count = messages.len();
        let keys: BinaryArray = (0..count).map(|index| messages.key(index)).collect();
        let nulls: std::collections::BTreeSet<u32> = messages.nulls.iter().copied().collect();
        let values: BinaryArray =
            (0..count).map(|index| (!nulls.contains(&(index as u32))).then(|| messages.values.get(index))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
        let records = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|source| Error::Kernel {
            decoder: "raw".into(),
            rows: count,
            source,
        })?;
        Ok(Rows { records, origins: Origins::Each, faults: Vec::new(), unknown: Vec::new(), open: None })
    }
}
