//! `print`: rows as a table on standard output.

use std::io::Write as _;

use arrow::{array::RecordBatch, error::ArrowError, json::LineDelimitedWriter, util::pretty::pretty_format_batches};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Consumer, Error};
use crate::data::Batch;

/// Prints the first rows of each commit as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintSpec {
    /// Most rows printed of one commit.
    #[serde(default = "rows")]
    pub rows: usize,
}

fn rows() -> usize {
    10
}

/// A running `print`.
#[derive(Debug)]
pub struct PrintConsumer {
    title: String,
    rows: usize,
    json: bool,
    kept: Vec<RecordBatch>,
    seen: usize,
}

impl PrintConsumer {
    /// Prints the rows of `pipeline`: as tables, or as NDJSON.
    #[must_use]
    pub fn new(spec: &PrintSpec, pipeline: &str, json: bool) -> Self {
        Self { title: pipeline.to_owned(), rows: spec.rows, json, kept: Vec::new(), seen: 0 }
    }

    fn text(&self) -> Result<String, ArrowError> {
        if self.json {
            let mut writer = LineDelimitedWriter::new(Vec::new());
            self.kept.iter().try_for_each(|rows| writer.write(rows))?;
            writer.finish()?;
            return Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned());
        }
        let mut text = String::new();
        // Rows of different schemas stand in tables of their own.
        for rows in self.kept.chunk_by(|a, b| a.schema_ref() == b.schema_ref()) {
            text += &format!("{}\n", pretty_format_batches(rows)?);
        }
        let shown: usize = self.kept.iter().map(RecordBatch::num_rows).sum();
        Ok(text + &format!("{}: {shown} of {} rows\n", self.title, self.seen))
    }
}

#[async_trait]
impl Consumer for PrintConsumer {
    fn name(&self) -> &str {
        "print"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        let kept: usize = self.kept.iter().map(RecordBatch::num_rows).sum();
        let wanted = self.rows.saturating_sub(kept).min(batch.records.num_rows());
        if wanted > 0 {
            self.kept.push(batch.records.slice(0, wanted));
        }
        self.seen += batch.records.num_rows();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.seen > 0 && self.rows > 0 {
            let format = if self.json { "ndjson" } else { "table" };
            let text =
                self.text().map_err(|source| Error::Encode { consumer: "print", format, rows: self.seen, source })?;
            // A reader that has gone away is no reason to stop committing.
            if let Err(error) = std::io::stdout().lock().write_all(text.as_bytes()) {
                tracing::debug!(%error, "nobody reads what is printed");
            }
        }
        self.kept.clear();
        self.seen = 0;
        Ok(())
    }
}
