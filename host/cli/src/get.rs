//! `spout get file`: a file of a commit, as it is or as another format.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use arrow::{array::RecordBatch, datatypes::Schema, error::ArrowError, json::LineDelimitedWriter};
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use spout_format::{csv_text, decode, json_options, json_rows};
use spout_repo::{FileEntry, Reference, Repo, Tree};
use tempfile::NamedTempFile;

use super::{
    Global,
    busy::Busy,
    error::Error,
    print::{Printer, count, size},
};

/// Get a file out of a commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout get file github-events@master:/events/part-0.parquet -o part-0.parquet
  spout get file github-events@master~1:/events/part-0.parquet --format csv | head
  spout get file github-events@master:/events -r -o events")]
pub(super) struct Get {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Get a file, to standard output or into a file.
    #[command(after_help = "Examples:
  spout get file github-events@master:/offsets
  spout get file github-events@master:/events/part-0.parquet -o part-0.parquet
  spout get file github-events@master:/events/part-0.parquet --format ndjson | jq .
  spout get file github-events@v1 -r -o github-events        all files, as a directory

Existing files at the output paths are replaced, each atomically; other files stay.")]
    File {
        /// `repo@branch:/path`, `repo@branch~2:/path` or `repo@<commit id>:/path`.
        reference: String,
        /// Write it into this file, or with -r into this directory, instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Convert a table (Parquet, Arrow, NDJSON, CSV).
        #[arg(long, value_enum)]
        format: Option<TextFormat>,
        /// Get every file below a directory.
        #[arg(short, long, requires = "output", conflicts_with = "format")]
        recursive: bool,
    },
}

/// Text formats that tables can be converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TextFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}

impl TextFormat {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// Says which column the format cannot hold, if there is one.
    pub(super) fn check(self, schema: &Schema) -> Result<(), String> {
        match schema.fields().iter().find(|field| self == Self::Csv && field.data_type().is_nested()) {
            Some(field) => {
                Err(format!("the column `{}` is nested; use --format ndjson, or select its parts", field.name()))
            }
            None => Ok(()),
        }
    }

    /// Writes `batches`; CSV with one header, if any.
    pub(super) fn write(
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

impl Get {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { reference, output, format, recursive } = &self.what;
        let (repo, commit, path) = {
            let reference: Reference = reference.parse()?;
            let (repo, commit) = global.store().await?.resolve(&reference).await?;
            (repo, commit, reference.path)
        };
        let tree = repo.tree(&commit).await?;
        if let (true, Some(directory)) = (recursive, output) {
            return below(&repo, &tree, path.as_deref().unwrap_or("/"), directory, printer).await;
        }
        let path = file_path(path.as_deref(), reference, &tree)?;
        let entry = tree.file(&path)?;
        match (output, format) {
            (None, None) => printed(&repo, &tree, entry, printer).await,
            (None, Some(format)) => printer.bytes(&converted(&repo, &tree, entry, *format).await?),
            (Some(file), format) => {
                let size = match format {
                    None => saved(&repo, &tree, entry, file).await?,
                    Some(format) => {
                        let bytes = converted(&repo, &tree, entry, *format).await?;
                        save(file, &bytes)?;
                        bytes.len() as u64
                    }
                };
                report(&path, file, size, printer)
            }
        }
    }
}

fn report(path: &str, file: &Path, bytes: u64, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        printer.value(&serde_json::json!({"path": path, "file": file, "size": bytes}))
    } else {
        printer.line(format!("{path} ({}) is in {}", size(bytes), file.display()))
    }
}

/// Whether a file is its pieces one after the other, so that it need not be held as a whole.
fn is_plain(entry: &FileEntry) -> bool {
    entry.format.is_none() || entry.pieces.len() == 1
}

async fn printed(repo: &Repo, tree: &Tree, entry: &FileEntry, printer: &mut Printer) -> Result<()> {
    if !is_plain(entry) {
        return printer.bytes(&repo.read_file(tree, &entry.path).await?);
    }
    for piece in &entry.pieces {
        printer.bytes(&repo.piece(entry, piece).await?)?;
    }
    Ok(())
}

async fn saved(repo: &Repo, tree: &Tree, entry: &FileEntry, file: &Path) -> Result<u64> {
    if !is_plain(entry) {
        let bytes = repo.read_file(tree, &entry.path).await?;
        save(file, &bytes)?;
        return Ok(bytes.len() as u64);
    }
    let mut to = temporary(file)?;
    for piece in &entry.pieces {
        let written = to.write_all(&repo.piece(entry, piece).await?);
        written.map_err(|source| Error::WriteFile { path: file.to_owned(), source })?;
    }
    persist(to, file)?;
    Ok(entry.size)
}

/// All files below `path`, below `directory`.
async fn below(repo: &Repo, tree: &Tree, path: &str, directory: &Path, printer: &mut Printer) -> Result<()> {
    if path != "/" && tree.below(path).next().is_none() {
        tree.file(path)?;
    }
    let (mut files, mut bytes) = (0, 0);
    let busy = Busy::new(printer);
    for entry in tree.below(path) {
        let inner = entry.path.strip_prefix(path.trim_end_matches('/')).unwrap_or(&entry.path);
        let inner = match inner.trim_start_matches('/') {
            // The path is a file: it keeps its name.
            "" => entry.path.rsplit('/').next().unwrap_or_default(),
            inner => inner,
        };
        let file = directory.join(inner);
        let parent = file.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent).map_err(|source| Error::WriteFile { path: parent.to_owned(), source })?;
        busy.say(format!("{}, {}: {}", count(files, "file"), size(bytes), entry.path));
        let size = saved(repo, tree, entry, &file).await?;
        if printer.json() {
            report(&entry.path, &file, size, printer)?;
        }
        (files, bytes) = (files + 1, bytes + size);
    }
    drop(busy);
    if printer.json() {
        Ok(())
    } else {
        printer.line(format!("{} ({}) in {}", count(files, "file"), size(bytes), directory.display()))
    }
}

/// The path of the one file that is meant.
fn file_path(path: Option<&str>, reference: &str, tree: &Tree) -> Result<String, Error> {
    let usage = |what| Error::Usage { verb: "get file", what };
    let Some(path) = path.filter(|path| *path != "/") else {
        return Err(usage(format!(
            "`{reference}` names no file; add :/path (`spout list file {reference}` lists the files)"
        )));
    };
    let below = tree.below(path).count();
    if tree.get(path).is_none() && below > 0 {
        let files = count(below as u64, "file");
        Err(usage(format!(
            "`{path}` is a directory with {files}; add -r -o DIR for all, or name one: `spout list file {reference}`"
        )))
    } else {
        Ok(path.to_owned())
    }
}

async fn converted(repo: &Repo, tree: &Tree, entry: &FileEntry, format: TextFormat) -> Result<Bytes> {
    let cannot = |why: String| Error::Convert { file: entry.path.clone(), format: format.name(), why };
    let Some(stored) = entry.format else {
        return Err(cannot("it is not a table; leave out --format to get its bytes".into()).into());
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

/// Writes `bytes` so that `file` is never half of them.
pub(super) fn save(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut temporary = temporary(file)?;
    let written = temporary.write_all(bytes);
    written.map_err(|source| Error::WriteFile { path: file.to_owned(), source })?;
    persist(temporary, file)
}

/// A file beside `file` that [`persist`] puts in its place, and that is gone if it is dropped before.
pub(super) fn temporary(file: &Path) -> Result<NamedTempFile, Error> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    // As any new file: what the user's umask leaves of this. Temporary files are for their owner alone otherwise.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(parent).map_err(|source| Error::WriteFile { path: file.to_owned(), source })
}

/// Puts what was written into the place of `file`.
pub(super) fn persist(temporary: NamedTempFile, file: &Path) -> Result<(), Error> {
    let persisted = temporary.persist(file);
    persisted.map(drop).map_err(|error| Error::WriteFile { path: file.to_owned(), source: error.error })
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

    #[test]
    fn saving_names_the_file_that_cannot_be_written() {
        let error = save(Path::new("/nowhere/at/all.csv"), b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/at/all.csv; check the directory and its permissions");
    }
}
