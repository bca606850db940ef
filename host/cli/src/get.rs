//! `spout get file`: a file of a commit, as it is or as another format.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use spout_api::{Api, Content, Reference, TextFormat};
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
        format: Option<Format>,
        /// Get every file below a directory.
        #[arg(short, long, requires = "output", conflicts_with = "format")]
        recursive: bool,
    },
}

/// Text formats that tables can be converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}

impl From<Format> for TextFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv,
        }
    }
}

impl Get {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { reference, output, format, recursive } = &self.what;
        let named: Reference = reference.parse()?;
        let api = global.api().await?;
        if let (true, Some(directory)) = (recursive, output) {
            return below(&*api, &named, directory, printer).await;
        }
        match (output, format) {
            (None, None) => {
                let mut content = api.content(&named, None).await?;
                while let Some(bytes) = content.next().await? {
                    printer.bytes(&bytes)?;
                }
                Ok(())
            }
            (None, Some(format)) => printer.bytes(&api.converted(&named, (*format).into()).await?),
            (Some(file), format) => {
                let size = match format {
                    None => saved(api.content(&named, None).await?, file).await?,
                    Some(format) => {
                        let bytes = api.converted(&named, (*format).into()).await?;
                        save(file, &bytes)?;
                        bytes.len() as u64
                    }
                };
                report(named.path.as_deref().unwrap_or_default(), file, size, printer)
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

/// Writes `content` so that `file` is never half of it; how many bytes it has.
async fn saved(mut content: Content, file: &Path) -> Result<u64> {
    let mut to = temporary(file)?;
    while let Some(bytes) = content.next().await? {
        to.write_all(&bytes).map_err(|source| Error::WriteFile { path: file.to_owned(), source })?;
    }
    persist(to, file)?;
    Ok(content.size)
}

/// All files below a path, below `directory`.
async fn below(api: &dyn Api, named: &Reference, directory: &Path, printer: &mut Printer) -> Result<()> {
    let found = api.files(named, true).await?;
    let path = named.path.as_deref().unwrap_or("/");
    let (mut files, mut bytes) = (0, 0);
    let busy = Busy::new(printer);
    for entry in &found.files {
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
        let one = Reference { path: Some(entry.path.clone()), ..Reference::head(&found.repo, &found.commit) };
        let size = saved(api.content(&one, None).await?, &file).await?;
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
    use super::*;

    #[test]
    fn saving_names_the_file_that_cannot_be_written() {
        let error = save(Path::new("/nowhere/at/all.csv"), b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/at/all.csv; check the directory and its permissions");
    }
}
