//! `spout put file`: files from outside, as they are or as tables, in one commit.

use std::{
    fs,
    io::{self, Seek as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use arrow::datatypes::SchemaRef;
use clap::{Args, Subcommand};
use spout_api::{Body, Changes, Put as Told, PutMode, Reference, Target};
use spout_format::{Format, TableWriter};
use spout_repo::{Edit, Error as RepoError, OpenCommit};

use super::{
    Global,
    busy::Busy,
    changes::print_changes,
    error::Error,
    print::{Printer, count},
    sources::{Item, Source, To, apart, plan},
    tabular::{Import, TableFormat, opened, renamed},
};

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

/// Tables on their way.
struct Putting<'a> {
    target: &'a Target,
    open: OpenCommit,
    how: PutMode,
    busy: &'a Busy,
    rows: u64,
}

/// Whether files grow or are replaced, as `-a` and `-o` say.
pub(super) fn how(append: bool) -> PutMode {
    if append { PutMode::Append } else { PutMode::Overwrite }
}

fn not_put(item: &Item) -> String {
    format!("{} was not put", item.source.shown())
}

impl Put {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { reference: text, files, append, recursive, table, .. } = &self.what;
        let reference: Reference = text.parse()?;
        let to = To { path: reference.path.as_deref(), directory: text.ends_with('/'), recursive: *recursive };
        if table.is_some() {
            global.only_local("`spout put file --table`")?;
        }
        let mut items = plan(files, to)?;
        if table.is_some() {
            items.iter_mut().filter(|item| item.named_after).for_each(|item| item.to = renamed(&item.to));
        }
        if !append {
            apart(&items)?;
        }
        let (how, busy) = (how(*append), Busy::new(printer));
        let changes = match table {
            Some(format) => tables(global, &reference, &items, how, *format, &busy).await,
            None => bytes(global, &reference, &items, how, &busy).await,
        };
        drop(busy);
        print_changes(&changes?, printer)
    }
}

async fn bytes(global: &Global, to: &Reference, items: &[Item], how: PutMode, busy: &Busy) -> Result<Changes> {
    let api = global.api_to_write().await?;
    let mut putting = api.put(to).await?;
    for item in items {
        busy.say(format!("reading {}", item.source.shown()));
        let body: Result<Body<'_>> = match &item.source {
            Source::Stdin => Ok(Box::new(busy.reading(&item.to, tokio::io::stdin()))),
            Source::File(path) => match tokio::fs::File::open(path).await {
                Ok(file) => Ok(Box::new(busy.reading(&item.to, file))),
                Err(source) => Err(Error::ReadFile { path: path.clone(), source }.into()),
            },
        };
        let put = match body {
            Ok(body) => putting.file(&item.to, how, body).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        if let Err(error) = put {
            putting.abandon().await;
            return Err(error).with_context(|| not_put(item));
        }
    }
    Ok(putting.finish().await?)
}

async fn tables(
    global: &Global,
    to: &Reference,
    items: &[Item],
    how: PutMode,
    format: TableFormat,
    busy: &Busy,
) -> Result<Changes> {
    let target = Target::of(&global.store_to_write().await?, to).await?;
    let mut putting = Putting { target: &target, open: target.open(), how, busy, rows: 0 };
    let mut put = Vec::new();
    for item in items {
        busy.say(format!("reading {}", item.source.shown()));
        put.push(putting.table(item, format).await.with_context(|| not_put(item))?);
    }
    let Putting { open, rows, .. } = putting;
    let mut edit = Edit::new("put file");
    edit.rows = rows;
    Ok(target.finish(open, edit, put, Vec::new()).await?)
}

impl Putting<'_> {
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
