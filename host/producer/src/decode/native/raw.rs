//! `raw`: payloads as they are, in the columns `key` and `value`.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, BinaryArray, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Messages, Origins};

use super::{DecoderKind, Opening};
use crate::{
    Error,
    decode::{Native, Rows},
};

/// Settings of the native `raw` decoder: there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSpec {}

impl DecoderKind for RawSpec {
    fn schema(&self) -> Option<SchemaRef> {
        let column = |name| Field::new(name, DataType::Binary, true);
        Some(Arc::new(Schema::new(vec![column("key"), column("value")])))
    }

    fn open(&self, _opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Ok(Box::new(self.clone()))
    }
}

impl Native for RawSpec {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let count = messages.len();
        let keys: BinaryArray = (0..count).map(|index| messages.key(index)).collect();
        let nulls: BTreeSet<u32> = messages.nulls.iter().copied().collect();
        let values: BinaryArray =
            (0..count).map(|index| (!nulls.contains(&(index as u32))).then(|| messages.values.get(index))).collect();
        let columns: [(&str, ArrayRef); 2] = [("key", Arc::new(keys)), ("value", Arc::new(values))];
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let records = RecordBatch::try_from_iter_with_nullable(columns).map_err(|source| Error::Kernel {
            decoder: "raw".into(),
            rows: count,
            source,
        })?;
        Ok(Rows { records, origins: Origins::Each, faults: Vec::new(), unknown: Vec::new(), open: None })
    }
}
