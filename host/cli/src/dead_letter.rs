//! `spout deadletter`: what was set aside, by reason, one by one, and once more through a pipeline.

use std::path::PathBuf;

use anyhow::Result;
use arrow::{array::AsArray as _, datatypes::Int64Type};
use clap::{Args, Subcommand};
use spout_api::{DeadLetters, Error as ApiError, Query, Reference, table_of_letters};
use spout_base::error::Coded as _;

use super::{
    Global,
    answer::{self, Format},
    error::Error,
    print::{Printer, Table, grouped},
    run::Run,
};

/// Reasons that are listed.
const MOST: usize = 1000;

/// Show messages that were set aside, and give them to a pipeline once more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout deadletter list github-events                     how many, by reason
  spout deadletter show github-events --code json.syntax  the messages themselves
  spout deadletter replay mended.yaml                     once more, through a spec that takes them")]
pub(super) struct DeadLetter {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count the dead letters of a commit by stage, code and what they hold, with a reason of each.
    #[command(after_help = "Examples:
  spout deadletter list github-events
  spout deadletter list github-events@dev~3 --json")]
    List {
        /// `repo`, `repo@branch`, `repo@branch~2` or `repo@<commit id>`.
        reference: String,
    },
    /// Show some dead letters: where each came from, what was wrong, and the message.
    #[command(after_help = "Examples:
  spout deadletter show github-events
  spout deadletter show github-events --stage decode --code json.syntax -n 3
  spout deadletter show github-events --json | jq -r .value

The bytes of each, as they arrived: spout sql 'select value from github_events_dead_letter' -o letters.parquet")]
    Show {
        /// `repo`, `repo@branch`, `repo@branch~2` or `repo@<commit id>`.
        reference: String,
        /// Only those of this stage: `decode`, or the id of a handler.
        #[arg(long)]
        stage: Option<String>,
        /// Only those of this code.
        #[arg(long)]
        code: Option<String>,
        /// At most this many.
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
        number: u32,
    },
    /// Give the dead letters of pipelines to their specs once more, with a decoder or handlers that were mended.
    #[command(after_help = "Examples:
  spout deadletter replay github-events.yaml              into the repo github-events-replayed
  spout deadletter replay mended.yaml --to events-mended
  spout deadletter replay mended.yaml --into-source       into the table that they would have gone into
  spout sql 'select * from github_events union all select * from github_events_replayed'

Each message is replayed once: the repo of the replay remembers, as any pipeline does, up to which commit it has read, so that the
next replay takes what was set aside since. What fails again is a dead letter of that repo, and can be replayed from there. Commits say
which commits their messages were set aside in, and a message has its key, headers and time again. Left out are letters that hold
only a part of a message or a row that a handler had made: `list` counts them.

With --into-source the rows go into the pipeline's own table, each with the partition, offset, key and time that its message had, by
commits of its own branch that say which commits the letters are of; the pipeline has to be stopped. Only letters of stage `decode` that
hold a whole message are replayed so, since no row of it is there yet; how many others there are is said. What fails again is a dead
letter of the new commit, and is for the next replay. Handlers may have no state (E0117).

A message of which other rows went through makes those rows again, in the repo of the replay. A CSV file's header is a message of its own:
name the columns in the spec. To replay all the time, write the pipeline: `producer: {repo: {repo: NAME, mode: deadLetters}}`.")]
    Replay {
        /// Spec files of the pipelines whose dead letters are meant.
        #[arg(required = true, value_name = "SPEC")]
        specs: Vec<PathBuf>,
        /// Name of the pipeline and repo of the replay, if there is one spec [default: NAME-replayed]
        #[arg(long, value_name = "REPO", conflicts_with = "into_source")]
        to: Option<String>,
        /// Into the table of the pipeline itself.
        #[arg(long)]
        into_source: bool,
    },
}

impl DeadLetter {
    /// Its name, where it runs a pipeline.
    pub(super) fn only_local(&self) -> Option<&'static str> {
        matches!(self.what, What::Replay { .. }).then_some("`spout deadletter replay`")
    }

    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::List { reference } => {
                let letters = global.api().await?.dead_letters(&reference.parse()?, MOST).await?;
                printer.list(&letters, by_reason, &format!("{reference} has no dead letters"))
            }
            What::Show { reference, stage, code, number } => {
                let only = |column: &str, value: &Option<String>| {
                    let quoted = value.as_ref().map(|value| value.replace('\'', "''"));
                    quoted.map(|value| format!("{column} = '{value}'"))
                };
                let wanted: Vec<String> = [only("stage", stage), only("code", code)].into_iter().flatten().collect();
                let wanted = if wanted.is_empty() { String::new() } else { format!(" where {}", wanted.join(" and ")) };
                let columns = r#"partition, "offset", "timestamp", stage, code, reason, holds, text(key) as key, text(value) as value"#;
                let query = format!("select {columns} from {}{wanted} limit {number}", table(reference)?);
                rows(query, reference, global, printer).await
            }
            What::Replay { specs, to: None, into_source: true } => {
                Box::pin(Run::until_idle(specs).replay_into_source(global, printer)).await
            }
            What::Replay { specs, to, .. } => {
                if let (Some(_), [_, _, ..]) = (to, specs.as_slice()) {
                    let what = "--to names the repo of one replay, and there are several specs".to_owned();
                    return Err(Error::Usage { verb: "deadletter replay", what }.into());
                }
                Run::until_idle(specs).replay(to.as_deref(), global, printer).await
            }
        }
    }
}

/// Says how many dead letters a replay into their own table cannot take: of their messages, other rows may be there.
pub(super) async fn left_out(reference: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let others = "not (stage = 'decode' and holds = 'message')";
    let query = format!("select count(*) as letters from {} where {others}", table(reference)?);
    let mut found = match global.api().await?.sql(&Query { query, at: Vec::new(), verify: false }).await {
        Ok(found) => found,
        // A branch of which nothing was ever set aside.
        Err(error) if error.code() == "E0552" => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut left = 0;
    while let Some(batch) = found.next().await.transpose()? {
        let column = batch.column_by_name("letters").and_then(|column| column.as_primitive_opt::<Int64Type>());
        left += column.map_or(0, |column| column.values().iter().sum::<i64>());
    }
    if left == 0 || printer.json() {
        return Ok(());
    }
    let many = grouped(left.unsigned_abs());
    printer.line(format!(
        "{reference}: {many} dead letters of handlers or of parts of messages were left out: other rows of their messages may be in the table; without --into-source they are replayed as far as they hold a whole message"
    ))
}

/// The dead letters of a commit, as a query names them.
fn table(reference: &str) -> Result<String, ApiError> {
    Ok(table_of_letters(&reference.parse::<Reference>()?))
}

fn by_reason(letters: &[DeadLetters]) -> Table {
    Table::new(
        &["stage", "code", "holds", ">letters", "reason"],
        letters.iter().map(|kind| {
            let DeadLetters { stage, code, holds, letters, reason } = kind.clone();
            vec![stage, code, holds.unwrap_or_default(), grouped(letters), reason.unwrap_or_default()]
        }),
    )
}

async fn rows(query: String, reference: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let format = if printer.json() { Format::Ndjson } else { Format::Table };
    match global.api().await?.sql(&Query { query, at: Vec::new(), verify: false }).await {
        Ok(found) => answer::print(found, format, printer).await,
        // A branch of which nothing was ever set aside.
        Err(error) if error.code() == "E0552" && !printer.json() => {
            printer.line(format!("{reference} has no dead letters"))
        }
        Err(error) if error.code() == "E0552" => Ok(()),
        Err(error) => Err(error.into()),
    }
}
