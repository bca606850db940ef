//! Tables as text.

use std::io::Write;

use arrow::{array::RecordBatch, datatypes::Schema, error::ArrowError, json::LineDelimitedWriter};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_format::{Format, csv_text, decode, json_options, json_rows};
use spout_repo::{Reference, Repo, Tree};

use crate::{Error, Result, content::named};

/// Text formats that tables can be converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}

impl TextFormat {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// The same among the formats of files.
    #[must_use]
    pub fn format(self) -> Format {
        match self {
            Self::Ndjson => Format::Ndjson,
            Self::Csv => Format::Csv,
        }
    }

    /// Says which column the format cannot hold, if there is one.
    pub(crate) fn check(self, schema: &Schema) -> Result<(), String> {
        match schema.fields().iter().find(|field| self == Self::Csv && field.data_type().is_nested()) {
            Some(field) => {
                Err(format!("the column `{}` is nested; use --format ndjson, or select its parts", field.name()))
            }
            None => Ok(()),
        }
    }

    /// Writes `batches`; CSV with one header, if any.
    pub(crate) fn write(
        self,
        batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
        header: bool,
        to: &mut dyn Write,
    ) -> Result<(), ArrowError> {
        match self {
            Self::Ndjson => {
                for batch in batches {
                    let batch = batch?;
                    let batch = json_rows(&batch)?;
                    let mut writer: LineDelimitedWriter<_> = json_options(batch.schema_ref()).build(&mut *to);
                    writer.write(&batch)?;
                    writer.finish()?;
                }
            }
            Self::Csv => {
                for (index, batch) in batches.enumerate() {
                    to.write_all(&csv_text(&batch?, header && index == 0)?)?;
                }
            }
        }
        Ok(())
    }
}

pub(crate) async fn converted(repo: &Repo, tree: &Tree, reference: &Reference, format: TextFormat) -> Result<Bytes> {
    let entry = named(tree, reference)?;
    let cannot = |why: String| Error::Convert { file: entry.path.clone(), format: format.name(), why };
    let Some(stored) = entry.format else {
        return Err(cannot("it is not a table; leave out --format to get its bytes".into()));
    };
    let schema = tree.columns([entry])?;
    format.check(&schema).map_err(cannot)?;
    let bytes = repo.read_file(tree, &entry.path).await?;
    let mut failed = None;
    let batches = decode(&entry.path, stored, &schema, bytes, None)?.map_while(|batch| match batch {
        Ok(batch) => Some(Ok(batch)),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let mut out = Vec::new();
    let written = format.write(batches, true, &mut out);
    if let Some(error) = failed {
        return Err(error.into());
    }
    written.map_err(|error| cannot(error.to_string()))?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn csv_has_one_header_however_many_batches() {
        let batch = || {
            let columns: [(&str, ArrayRef); 2] =
                [("a", Arc::new(Int64Array::from(vec![1]))), ("b", Arc::new(StringArray::from(vec!["x,y"])))];
            RecordBatch::try_from_iter(columns)
        };
        let check = |format: TextFormat, expected: &str| {
            let mut out = Vec::new();
            format.write([batch(), batch()].into_iter(), true, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(TextFormat::Csv, "a,b\n1,\"x,y\"\n1,\"x,y\"\n");
        check(TextFormat::Ndjson, "{\"a\":1,\"b\":\"x,y\"}\n{\"a\":1,\"b\":\"x,y\"}\n");
    }
}
