//! `spout put file`: files from outside, as they are or as tables, in one commit.

use std::{
    fs,
    io::{self, Cursor, Seek as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use arrow::datatypes::SchemaRef;
use clap::{Args, Subcommand};
use spout_format::{Format, TableWriter};
use spout_repo::{Edit, Error as RepoError, OpenCommit, PutMode, Reference};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    Global,
    busy::Busy,
    error::Error,
    import::{Import, TableFormat, opened, renamed},
    print::{Printer, count},
    sources::{Item, Source, To, apart, plan},
    target::{Changes, Put as Told, Target, how},
};

/// A file up to this size is put whole, so that it can live in the commit itself; a larger one is streamed.
const WHOLE: u64 = 256 << 10;
/// A table is put in pieces of about this size, so that memory does not grow with it.
const PIECE: usize = 64 << 20;

/// Put files into a repo.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout put file pictures@master:/a.jpg -f a.jpg
  spout put file sales@master:/sales.parquet --table -f sales.csv")]
pub(super) struct Put {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put files into a branch, all in one commit, or into a commit that was started.
    #[command(after_help = "Examples:
  spout put file pictures@master:/a.jpg -f a.jpg           the file a.jpg, created or replaced
  spout put file pictures@master:/2026/ -f a.jpg -f b.jpg  several, under their own names, in one commit
  spout put file pictures@master:/2026 -r -f photos        all files below the directory photos
  spout put file log@master:/today.log -a -f more.log      append to what is there
  spout put file log@master:/notes -f -                    standard input
  spout put file sales@master:/sales.parquet --table -f sales.csv
  spout put file sales@master:/2026/ --table=csv -f jan.txt -f feb.txt
  spout put file pictures@0123456789ab:/a.jpg -f a.jpg     into a started commit; `spout start commit` gives its id

Bytes are stored as they are, and `spout sql` does not see them. With --table, the rows of CSV, NDJSON, Parquet or Arrow
files become a table that it does see, stored as Parquet or by the extension of the path (.csv, .ndjson, .arrow). Columns get
types that fit every row or, when appending, the types of the table.

The repo must exist (`spout create repo`); the branch is created if it does not. A pipeline that writes to the branch keeps
running and continues on top of the new commit.")]
    File {
        /// `repo@branch:/path`, or `repo@<started commit>:/path`. A path that ends with / is a directory.
        reference: String,
        /// A file or directory, or - for standard input; may be repeated.
        #[arg(short, long = "file", value_name = "FILE", default_value = "-")]
        files: Vec<PathBuf>,
        /// Append to existing files.
        #[arg(short, long)]
        append: bool,
        /// Replace existing files (the default).
        #[arg(short, long, conflicts_with = "append")]
        overwrite: bool,
        /// Put all files below a directory.
        #[arg(short, long)]
        recursive: bool,
        /// Put rows as a table; the format comes from the file names, or is given here.
        #[arg(
            long,
            value_enum,
            value_name = "FORMAT",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "auto"
        )]
        table: Option<TableFormat>,
    },
}

/// A put on its way.
struct Putting<'a> {
    target: &'a Target,
    open: OpenCommit,
    how: PutMode,
    busy: Busy,
    rows: u64,
}

impl Put {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { reference: text, files, append, recursive, table, .. } = &self.what;
        let reference: Reference = text.parse()?;
        let to = To { path: reference.path.as_deref(), directory: text.ends_with('/'), recursive: *recursive };
        let mut items = plan(files, to)?;
        if table.is_some() {
            items.iter_mut().filter(|item| item.named_after).for_each(|item| item.to = renamed(&item.to));
        }
        if !append {
            apart(&items)?;
        }
        let target = Target::of(global, &reference).await?;
        let (open, how) = (target.open(), how(*append));
        let mut putting = Putting { target: &target, open, how, busy: Busy::new(printer), rows: 0 };
        let mut changes = Changes::default();
        for item in &items {
            putting.busy.say(format!("reading {}", item.source.shown()));
            let put = match table {
                Some(format) => putting.table(item, *format).await,
                None => putting.bytes(item).await,
            };
            changes.put.push(put.with_context(|| format!("{} was not put", item.source.shown()))?);
        }
        let Putting { open, rows, busy, .. } = putting;
        drop(busy);
        let mut edit = Edit::new("put file");
        edit.rows = rows;
        target.finish(open, edit, &changes, printer).await
    }
}

impl Putting<'_> {
    async fn bytes(&mut self, item: &Item) -> Result<Told> {
        let to = &item.to;
        let size = match &item.source {
            Source::Stdin => put(&mut self.open, to, self.how, self.busy.reading(to, tokio::io::stdin())).await?,
            Source::File(path) => {
                let unreadable = |source| Error::ReadFile { path: path.clone(), source };
                let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
                put(&mut self.open, to, self.how, self.busy.reading(to, file)).await?
            }
        };
        Ok(Told { path: to.clone(), size, rows: None })
    }

    async fn table(&mut self, item: &Item, format: TableFormat) -> Result<Told> {
        let shown = item.source.shown();
        let format = format.of(&shown)?;
        let file = match &item.source {
            Source::File(path) => opened(path)?,
            Source::Stdin => spooled()?,
        };
        let known = self.known(&item.to).await?;
        let mut import = Import::open(file, &shown, format, known.as_deref())?;
        let mut told = Told { path: item.to.clone(), size: 0, rows: Some(0) };
        let mut how = self.how;
        loop {
            let stored = Format::of_path(&item.to).unwrap_or_default();
            let mut writer = TableWriter::new(stored, SchemaRef::clone(&import.schema))?;
            let ended = fill(&mut writer, &mut import)?;
            let table = writer.finish()?;
            told.size += table.bytes.len() as u64;
            told.rows = told.rows.map(|rows| rows + table.rows);
            self.rows += table.rows;
            self.busy.say(format!("{}: {}", item.to, count(told.rows.unwrap_or_default(), "row")));
            self.open.put_table(&item.to, how, table).await?;
            if ended {
                return Ok(told);
            }
            how = PutMode::Append;
        }
    }

    /// The columns of the table that is about to grow.
    async fn known(&self, path: &str) -> Result<Option<SchemaRef>> {
        if self.how == PutMode::Overwrite {
            return Ok(None);
        }
        let head = Reference::head(self.target.repo.name(), &self.target.branch);
        let head = match self.target.repo.resolve(&head).await {
            Ok(head) => head,
            Err(RepoError::UnknownBranch { .. } | RepoError::UnknownCommit { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let tree = self.target.repo.tree(&head).await?;
        let piece = tree.get(path).and_then(|file| file.pieces.last());
        Ok(piece.and_then(|piece| tree.schema(piece)).cloned())
    }
}

/// Writes rows until there are enough for a piece; whether all are written.
fn fill(writer: &mut TableWriter, import: &mut Import) -> Result<bool> {
    while writer.bytes_buffered() < PIECE {
        match import.next() {
            Some(batch) => writer.write(&batch?)?,
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Columns are known after all rows were seen, and standard input is read once only.
fn spooled() -> Result<fs::File, Error> {
    let unreadable = |source| Error::ReadFile { path: "-".into(), source };
    let mut file = tempfile::tempfile().map_err(unreadable)?;
    io::copy(&mut io::stdin().lock(), &mut file).and_then(|_| file.rewind()).map_err(unreadable)?;
    Ok(file)
}

/// Puts bytes, whole if they are few.
async fn put(open: &mut OpenCommit, to: &str, how: PutMode, mut from: impl AsyncRead + Unpin + Send) -> Result<u64> {
    let mut first = Vec::new();
    (&mut from).take(WHOLE + 1).read_to_end(&mut first).await.context("cannot read it to its end")?;
    let size = first.len() as u64;
    if size <= WHOLE {
        open.put_file(to, how, first.into()).await?;
        return Ok(size);
    }
    Ok(open.put_stream(to, how, Cursor::new(first).chain(from)).await?)
}
