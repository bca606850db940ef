//! `file`: rows appended to a file outside the repo, at least once.

use std::path::PathBuf;

use arrow::{array::RecordBatch, csv::WriterBuilder, error::ArrowError, json::LineDelimitedWriter};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::{Consumer, Error};
use crate::{data::Batch, repo::Format};

/// Appends rows to a file outside the repo, as NDJSON or CSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// The file; a relative path starts at the spec's own directory.
    pub path: PathBuf,
    /// `ndjson` or `csv`.
    #[serde(default = "ndjson")]
    pub format: Format,
}

fn ndjson() -> Format {
    Format::Ndjson
}

/// A running `file` consumer.
#[derive(Debug)]
pub struct FileConsumer {
    path: PathBuf,
    csv: bool,
    file: File,
    header: bool,
}

impl FileConsumer {
    /// Opens the file for appending; `path` is where the spec's path is on this machine.
    ///
    /// # Errors
    /// If the format is for whole files only, or the file cannot be opened.
    pub async fn open(spec: &FileSpec, path: PathBuf) -> Result<Self, Error> {
        let csv = match spec.format {
            Format::Csv => true,
            Format::Ndjson => false,
            Format::Parquet | Format::Arrow => {
                let reason = "it appends rows one after the other, so its format is ndjson or csv; the repo writes parquet and arrow".into();
                return Err(Error::Spec { consumer: "file", reason });
            }
        };
        let opened = File::options().create(true).append(true).open(&path).await;
        let file = opened.map_err(|source| Error::File { path: path.clone(), source })?;
        let length = file.metadata().await.map_err(|source| Error::File { path: path.clone(), source })?.len();
        Ok(Self { path, csv, file, header: csv && length == 0 })
    }

    fn encode(&self, records: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::new();
        if self.csv {
            WriterBuilder::new().with_header(self.header).build(&mut bytes).write(records)?;
        } else {
            let mut writer = LineDelimitedWriter::new(&mut bytes);
            writer.write(records)?;
            writer.finish()?;
        }
        Ok(bytes)
    }
}

#[async_trait]
impl Consumer for FileConsumer {
    fn name(&self) -> &str {
        "file"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        let rows = batch.records.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let format = if self.csv { "csv" } else { "ndjson" };
        let bytes =
            self.encode(&batch.records).map_err(|source| Error::Encode { consumer: "file", format, rows, source })?;
        self.header = false;
        self.file.write_all(&bytes).await.map_err(|source| Error::File { path: self.path.clone(), source })
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let flushed = match self.file.flush().await {
            Ok(()) => self.file.sync_data().await,
            Err(error) => Err(error),
        };
        flushed.map_err(|source| Error::File { path: self.path.clone(), source })
    }
}
