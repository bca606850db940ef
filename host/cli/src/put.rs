//! `spout put`: files from outside in one commit, as they are, as tables, unpacked or split; and plugins.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use spout_api::{Changes, PutMode, Putting, Reference, Split, SplitBy, Table, Untar};
use spout_data::ByteSize;

use super::{
    Global,
    busy::Busy,
    changes::print_changes,
    kept,
    print::Printer,
    sources::{Item, To, apart, archives, plan, seekable},
    table_format::{TableFormat, renamed},
};

/// Put files into a repo, or a plugin into the store.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout put file pictures@master:/a.jpg -f a.jpg
  spout put file sales@master:/sales.parquet --table -f sales.csv
  spout put file pictures@master:/2026 --untar -f photos.tar.gz
  spout put plugin weblog -f target/weblog.wasm")]
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
  spout put file pictures@master:/cats/ -f https://example.com/tom.jpg
  tar -c photos | spout put file pictures@master:/2026 --untar -f -
  spout put file users@master:/users --split json -f users.json
  spout put file sales@master:/sales --split csv --header-records 1 --target-file-datums 1000 -f sales.csv

Bytes are stored as they are, and `spout sql` does not see them. With --table, the rows of CSV, NDJSON, Parquet or Arrow
files become a table that it does see, stored as Parquet or by the extension of the path (.csv, .ndjson, .arrow). Columns get
types that fit every row or, when appending, the types of the table.

With --untar, the files of tar archives, also packed with gzip, are put below the path. With --split, each record, or as many as
the targets say, becomes a file below the path, named by 16 hex digits; files that were split before are replaced or, with -a,
followed. Either way all of it is one commit, and none of it where something is wrong.

The repo must exist (`spout create repo`); the branch is created if it does not. A pipeline that writes to the branch keeps
running and continues on top of the new commit.")]
    File(Files),
    /// Put a version of a plugin into the store, for specs of servers that have no file of it.
    #[command(after_help = "Examples:
  spout put plugin weblog -f target/weblog.wasm
  spout --server https://spout.example.com put plugin weblog -f weblog.wasm

From now on `plugin: weblog` in specs is this version, where the plugins directory of the server has no weblog.wasm;
`weblog@sha256:…` is this version whatever is put later. Versions are files of the repo _plugins.")]
    Plugin {
        /// What specs call it.
        name: String,
        /// The component.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
}

/// What is put, and where.
#[derive(Debug, Args)]
struct Files {
    /// `repo@branch:/path`, or `repo@<started commit>:/path`. A path that ends with / is a directory.
    reference: String,
    /// A file, directory or http(s) URL, or - for standard input; may be repeated.
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
    /// Put the files of tar archives below the path.
    #[arg(long, conflicts_with_all = ["table", "recursive", "split"])]
    untar: bool,
    /// Put the records of a file as files of their own below the path.
    #[arg(long, value_enum, value_name = "BY", conflicts_with_all = ["table", "recursive"])]
    split: Option<By>,
    /// So many records at the beginning are a header, with which each file begins.
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "split")]
    header_records: u64,
    /// End a file after so many records.
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "split")]
    target_file_datums: u64,
    /// End a file with the record that brings it to so many bytes, as in 1MiB.
    #[arg(long, value_name = "BYTES", default_value = "0", requires = "split")]
    target_file_bytes: ByteSize,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// A line.
    Line,
    /// A JSON value, however many lines it has.
    Json,
    /// A record of CSV, whose quoted values may have line ends.
    Csv,
}

impl From<By> for SplitBy {
    fn from(by: By) -> Self {
        match by {
            By::Line => Self::Line,
            By::Json => Self::Json,
            By::Csv => Self::Csv,
        }
    }
}

/// What becomes of what is put.
#[derive(Clone, Copy, Debug)]
enum As {
    /// Itself.
    Bytes,
    /// Its rows, as a table.
    Table(TableFormat),
    /// The files of the archive that it is.
    Archive,
    /// Files with some of its records each.
    Split(Split),
}

/// Whether files grow or are replaced, as `-a` and `-o` say.
pub(super) fn how(append: bool) -> PutMode {
    if append { PutMode::Append } else { PutMode::Overwrite }
}

impl Put {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::File(files) => files.run(global, printer).await,
            What::Plugin { name, file } => kept::put(name, file, global, printer).await,
        }
    }
}

impl Files {
    async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let Self { reference: text, files, append, recursive, .. } = self;
        let reference: Reference = text.parse()?;
        let to = To { path: reference.path.as_deref(), directory: text.ends_with('/'), recursive: *recursive };
        let what = self.what();
        let items = match what {
            As::Archive => archives(files, to),
            As::Table(_) => {
                let mut items = plan(files, to)?;
                items.iter_mut().filter(|item| item.named_after).for_each(|item| item.to = renamed(&item.to));
                items
            }
            As::Bytes | As::Split(_) => plan(files, to)?,
        };
        if !append && !matches!(what, As::Archive) {
            apart(&items)?;
        }
        let busy = Busy::new(printer);
        let changes = all(global, &reference, &items, what, how(*append), &busy).await;
        drop(busy);
        print_changes(&changes?, printer)
    }

    fn what(&self) -> As {
        let Self { table, untar, split, header_records, target_file_datums, target_file_bytes, .. } = self;
        match (table, split) {
            (Some(format), _) => As::Table(*format),
            (None, Some(by)) => As::Split(Split {
                by: (*by).into(),
                header_records: *header_records,
                target_file_datums: *target_file_datums,
                target_file_bytes: target_file_bytes.0,
            }),
            (None, None) if *untar => As::Archive,
            (None, None) => As::Bytes,
        }
    }
}

/// Puts all of them in one commit, or none.
async fn all(global: &Global, to: &Reference, items: &[Item], what: As, how: PutMode, busy: &Busy) -> Result<Changes> {
    let api = global.api_to_write().await?;
    let mut putting = api.put(to).await?;
    for item in items {
        busy.say(format!("reading {}", item.source.shown()));
        if let Err(error) = one(&mut *putting, item, what, how, busy).await {
            putting.abandon().await;
            return Err(error).with_context(|| format!("{} was not put", item.source.shown()));
        }
    }
    Ok(putting.finish().await?)
}

async fn one(putting: &mut dyn Putting, item: &Item, what: As, how: PutMode, busy: &Busy) -> Result<()> {
    let Item { source, to, .. } = item;
    let body = busy.reading(to, source.body().await?);
    match what {
        As::Bytes => putting.file(to, how, Box::new(body)).await.map(drop)?,
        As::Table(format) => {
            let name = source.shown();
            let format = format.of(&name)?;
            putting.table(to, how, Table { file: seekable(source, body).await?, name: &name, format }).await?;
        }
        As::Archive => {
            let untar = Untar { origin: &source.shown(), below: to, how, most: u64::MAX };
            putting.archive(untar, Box::new(body)).await?;
        }
        As::Split(split) => putting.split(to, how, split, Box::new(body)).await?,
    }
    Ok(())
}
