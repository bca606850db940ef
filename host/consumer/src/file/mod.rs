//! `file`: rows in files outside the repo, at least once.

mod name;
mod part;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{
    clock::{self, Instant},
    owner,
    reach::Reach,
};
use spout_data::{Batch, ByteSize, Period};
use spout_format::{Format, TableWriter};
use tokio::{sync::Mutex, task::JoinHandle};

use self::{name::Name, part::Part};
use super::{
    Consumer, ConsumerContext, Error,
    encode::{self, failed},
    spec::ConsumerKind,
};

/// Writes rows to files outside the repo. At least once: after a crash some rows are written again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// The file; a relative path starts at the spec's own directory, which may have to be created. Where there are several
    /// files it is a template with `{pipeline}`, `{time}` (when the file was started) and `{n}` (the next free number), as in
    /// `out/{pipeline}-{time}-{n}.ndjson`.
    pub path: PathBuf,
    /// `ndjson`, `csv`, `parquet` or `arrow`. The last two are whole files, one a commit or more.
    #[serde(default = "ndjson")]
    pub format: Format,
    /// `none` (the default), `gzip` or `zstd`, for `ndjson` and `csv`.
    #[serde(default)]
    pub compression: FileCompression,
    /// When to close a file and start the next one, as in `{size: 64MiB, time: 1h}`. Without it a file of text just grows.
    #[serde(default)]
    pub rotate: Option<RotateSpec>,
}

fn ndjson() -> Format {
    Format::Ndjson
}

/// How text is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileCompression {
    /// Not compressed.
    #[default]
    None,
    /// As `gzip` does.
    Gzip,
    /// As `zstd` does.
    Zstd,
}

/// When to close a file. Until then its name ends in `.part`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RotateSpec {
    /// When it is this large, as in `64MiB`.
    pub size: Option<ByteSize>,
    /// When it is this old, as in `1h`.
    pub time: Option<Period>,
}

impl FileSpec {
    /// Whether its files are whole, so that none outlasts a commit.
    fn whole(&self) -> bool {
        matches!(self.format, Format::Parquet | Format::Arrow)
    }

    /// Whether it writes several files.
    fn several(&self) -> bool {
        self.whole() || self.rotate.is_some()
    }
}

#[async_trait]
impl ConsumerKind for FileSpec {
    #[cfg(test)]
    fn example() -> &'static str {
        r#"{"type": "file", "path": "out/{pipeline}-{time}-{n}.ndjson.gz", "compression": "gzip",
    "rotate": {"size": "64MiB", "time": "1h"}}"#
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let path = self.path.to_string_lossy();
        if let Err(reason) = name::check(&path, self.several()) {
            return Some(("path", reason));
        }
        if self.whole() && self.compression != FileCompression::None {
            return Some(("compression", format!("a {} file compresses its own parts; leave it out", self.format)));
        }
        match &self.rotate {
            Some(RotateSpec { size: None, time: None }) => {
                Some(("rotate", "give a size or a time, as in `rotate: {size: 64MiB, time: 1h}`".into()))
            }
            Some(RotateSpec { size: Some(ByteSize(0)), .. }) => Some(("rotate", "it must be more than 0".into())),
            Some(RotateSpec { time: Some(Period(Duration::ZERO)), .. }) => {
                Some(("rotate", "it must be more than 0".into()))
            }
            _ => None,
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("file {}, {}", self.path.display(), self.format);
        text += match self.compression {
            FileCompression::None => "",
            FileCompression::Gzip => " (gzip)",
            FileCompression::Zstd => " (zstd)",
        };
        if self.whole() {
            text += ", a file a commit or more";
        }
        if let Some(rotate) = &self.rotate {
            let limits = [rotate.size.map(|size| size.to_string()), rotate.time.map(|time| time.to_string())];
            let limits: Vec<String> = limits.into_iter().flatten().collect();
            text += &format!(", the next one after {}", limits.join(" or "));
        }
        text
    }

    fn reach(&self) -> Reach {
        Reach::Files
    }

    fn guarantee(&self) -> &'static str {
        "at least once: after a crash some rows are written again"
    }

    fn fixed_columns(&self) -> Option<(&'static str, &'static str)> {
        let grows = self.format == Format::Csv && self.rotate.is_none();
        grows.then_some((
            "format",
            "a CSV file that only grows keeps the header it started with; set `rotate` to start new files, or choose `format: ndjson`",
        ))
    }

    async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(FileConsumer::open(self, context).await?))
    }
}

/// A running `file` consumer.
#[derive(Debug)]
pub(crate) struct FileConsumer {
    files: Arc<Mutex<Files>>,
    /// Ends a file that is old enough although no row comes.
    timer: Option<JoinHandle<()>>,
}

impl FileConsumer {
    /// Opens the file that is being written, with what a crash left of it.
    ///
    /// # Errors
    /// If the spec says what cannot be, or the file cannot be opened.
    async fn open(spec: &FileSpec, context: &ConsumerContext) -> Result<Self, Error> {
        if let Some((_, reason)) = spec.problem() {
            return Err(Error::Spec { consumer: "file", reason });
        }
        let path = context.base.join(&spec.path);
        let name = Name::new(&path, &context.pipeline, spec.several());
        let mut files = Files { spec: spec.clone(), name, current: None };
        files.recover().await?;
        let files = Arc::new(Mutex::new(files));
        let every = spec.rotate.as_ref().and_then(|rotate| rotate.time);
        let timer = every.filter(|_| !spec.whole()).map(|every| owner::spawn(watch(Arc::clone(&files), every.0)));
        Ok(Self { files, timer })
    }

    /// Whether files still end when they are old enough.
    fn watched(&self) -> Result<(), Error> {
        match &self.timer {
            Some(timer) if timer.is_finished() => Err(Error::Lost { consumer: "file" }),
            _ => Ok(()),
        }
    }
}

impl Drop for FileConsumer {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}

async fn watch(files: Arc<Mutex<Files>>, every: Duration) {
    loop {
        let begun = files.lock().await.current.as_ref().map(|current| current.begun);
        let due = begun.unwrap_or_else(clock::now) + every;
        tokio::time::sleep_until(due).await;
        let mut files = files.lock().await;
        if files.due()
            && let Err(error) = files.end().await
        {
            tracing::warn!(%error, "cannot rotate a file that is due; retrying at the next row");
        }
    }
}

#[async_trait]
impl Consumer for FileConsumer {
    fn name(&self) -> &str {
        "file"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        self.watched()?;
        match batch.records.num_rows() {
            0 => Ok(()),
            _ => self.files.lock().await.write(&batch.records).await,
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.watched()?;
        self.files.lock().await.flush().await
    }

    async fn failed(&mut self) -> Error {
        match &mut self.timer {
            Some(timer) => drop(timer.await),
            None => std::future::pending().await,
        }
        self.timer = None;
        Error::Lost { consumer: "file" }
    }

    async fn finish(&mut self) -> Result<(), Error> {
        let mut files = self.files.lock().await;
        if files.spec.several() { files.end().await } else { files.flush().await }
    }
}

/// The file being written.
#[derive(Debug)]
struct Current {
    writing: Writing,
    begun: Instant,
    schema: Option<SchemaRef>,
}

#[derive(Debug)]
enum Writing {
    /// Lines, which are there after each flush.
    Text(Box<Part>),
    /// A file that is only one when it is whole.
    Table(Box<TableWriter>),
}

#[derive(Debug)]
struct Files {
    spec: FileSpec,
    name: Name,
    current: Option<Current>,
}

impl Files {
    fn failed(&self, path: PathBuf) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File { path, source }
    }

    /// Goes on with the file that an earlier run has begun.
    async fn recover(&mut self) -> Result<(), Error> {
        let path = self.name.part().to_owned();
        if self.spec.whole() {
            // Only a crash between writing and renaming leaves one, and its rows come again.
            return match tokio::fs::remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(path)(error)),
                _ => Ok(()),
            };
        }
        let opened = Part::reopen(&path, self.spec.compression, self.spec.several()).await;
        if let Some(part) = opened.map_err(self.failed(path))? {
            self.current = Some(Current { writing: Writing::Text(Box::new(part)), begun: clock::now(), schema: None });
        }
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let other = |schema: &SchemaRef| schema.fields() != rows.schema_ref().fields();
        let format_keeps = self.spec.format != Format::Ndjson;
        let new_columns = format_keeps && self.current.as_ref().and_then(|c| c.schema.as_ref()).is_some_and(other);
        if self.spec.several() && (self.due() || new_columns) {
            self.end().await?;
        }
        if self.current.is_none() {
            self.begin(rows).await?;
        }
        let path = self.name.part().to_owned();
        let csv = self.spec.format == Format::Csv;
        let Some(current) = &mut self.current else { return Ok(()) };
        match &mut current.writing {
            Writing::Table(table) => table.write(rows)?,
            Writing::Text(part) => {
                let header = csv && part.is_empty();
                let count = rows.num_rows();
                let bytes = if csv {
                    encode::csv(rows, header).map_err(failed("file", "csv", count))?
                } else {
                    encode::ndjson(rows).map_err(failed("file", "ndjson", count))?
                };
                part.write(&bytes).await.map_err(|source| Error::File { path, source })?;
            }
        }
        current.schema = Some(rows.schema());
        if self.spec.several() && self.full() {
            self.end().await?;
        }
        Ok(())
    }

    async fn begin(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let path = self.name.part().to_owned();
        let writing = if self.spec.whole() {
            Writing::Table(Box::new(TableWriter::as_given(self.spec.format, rows.schema())?))
        } else {
            let part = Part::create(&path, self.spec.compression).await.map_err(self.failed(path))?;
            Writing::Text(Box::new(part))
        };
        self.current = Some(Current { writing, begun: clock::now(), schema: None });
        Ok(())
    }

    /// What was written is there after a crash; a whole file bears its name.
    async fn flush(&mut self) -> Result<(), Error> {
        let path = self.name.part().to_owned();
        match self.current.as_mut().map(|current| &mut current.writing) {
            None => return Ok(()),
            Some(Writing::Table(_)) => return self.end().await,
            Some(Writing::Text(part)) => part.sync().await.map_err(|source| Error::File { path, source })?,
        }
        if self.spec.several() && (self.due() || self.full()) {
            return self.end().await;
        }
        Ok(())
    }

    /// Ends the file and gives it its name.
    async fn end(&mut self) -> Result<(), Error> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let path = self.name.part().to_owned();
        match current.writing {
            Writing::Text(part) => part.end().await.map_err(self.failed(path.clone()))?,
            Writing::Table(table) => {
                let encoded = table.finish()?;
                let mut part = Part::create(&path, FileCompression::None).await.map_err(self.failed(path.clone()))?;
                let written = async {
                    part.write(&encoded.bytes).await?;
                    part.end().await
                };
                written.await.map_err(self.failed(path.clone()))?;
            }
        }
        self.name.give().await.map(drop).map_err(self.failed(path))
    }

    fn due(&self) -> bool {
        let time = self.spec.rotate.as_ref().and_then(|rotate| rotate.time);
        time.is_some_and(|time| self.current.as_ref().is_some_and(|current| current.begun.elapsed() >= time.0))
    }

    fn full(&self) -> bool {
        let size = self.spec.rotate.as_ref().and_then(|rotate| rotate.size);
        let written = match self.current.as_ref().map(|current| &current.writing) {
            None => 0,
            Some(Writing::Text(part)) => part.bytes(),
            Some(Writing::Table(table)) => table.bytes_buffered() as u64,
        };
        size.is_some_and(|size| written >= size.0)
    }
}
