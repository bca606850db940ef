//! Arguments, printing, exit codes: one file a verb.
//!
//! [`main`] parses the command line, starts what the verb needs, and turns its answer into an exit code: 0 done, 1 failed,
//! 2 wrong usage or a wrong spec. `report` prints errors with their code and causes; `print` everything else, for people
//! or, with `--json`, for programs.
//!
//! **Invariant**: no verb decides anything about data: what is read, written or refused is up to the rooms below.

/// Help for what the binary has only with the feature `cluster`.
#[cfg(feature = "cluster")]
macro_rules! clustered {
    ($text:literal) => {
        $text
    };
}
#[cfg(not(feature = "cluster"))]
macro_rules! clustered {
    ($text:literal) => {
        ""
    };
}

mod allocator;
mod answer;
mod busy;
mod cells;
mod certificate;
mod changes;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod commit;
mod compact;
mod completions;
mod copy;
mod create;
mod dead_letter;
mod delete;
mod diff;
mod doctor;
mod draw;
mod drop;
mod dry_run;
mod error;
mod explain;
mod fates;
mod findings;
mod finish;
mod fsck;
mod gc;
mod get;
mod glob;
mod global;
mod harden;
mod import;
mod init;
mod inspect;
mod kept;
mod list;
mod logs;
mod man;
mod managed;
mod marker;
mod open_files;
mod otlp;
mod pipeline;
mod pipes;
mod plugin;
mod print;
mod progress;
mod publish;
mod put;
mod relocate;
mod report;
mod revert;
mod run;
mod schema;
mod serve;
mod sources;
mod sql;
mod squash;
mod start;
mod steer;
mod stop;
mod subscribe;
mod table_format;
mod tap;
pub mod telemetry;
mod test;
mod token;
mod top;
mod ui;
mod update;
mod upgrade;
mod wait;

use std::{env, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, error::ErrorKind};
use spout_plugin::compile_for_parent;

use self::{
    error::Error,
    global::Global,
    print::Printer,
    report::{Report, Reported},
};
use crate::telemetry::Volume;

/// Runs sandboxed plugins over streams and commits their output to versioned repos, every message exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "spout",
    version,
    arg_required_else_help = true,
    max_term_width = 120,
    after_help = "Examples:
  spout init kafka                      a spec to start from, for a source
  spout schema --example > my.yaml      one with every part explained
  spout check my.yaml                   what it would do, and whether it can
  spout test my.yaml                    runs the tests in it
  spout dry-run my.yaml                 what it makes of a few real messages, without a commit
  spout run my.yaml                     until Ctrl-C, which commits what was read and stops
  spout list commit github-events       what it committed
  spout sql 'select count(*) from \"github-events\"'
  spout create repo pictures            a repo for files of your own
  spout put file pictures@master:/a.jpg -f a.jpg
  spout serve pipelines/                the store and these pipelines over HTTP
  spout --server URL list repo          any command on a server
  spout explain E0103                   what an error means

A commit is named by REPO@WHICH, where WHICH is
  master           the head of a branch; master by default
  v1               a tag
  0123456789ab     the id of a commit, or at least its first four digits
optionally followed by
  {2026-01-31T12:00:00Z}   the newest one at that moment, {2026-01-31} at the end of that day (UTC)
  ~2 or ^^                 two commits earlier
and, for a file or directory in it, by :/path at the end. Quote it for the shell:
  spout get file 'github-events@master{2026-01-31}~1:/events/part-0.parquet' -o part-0.parquet

Exit codes: 0 success, 1 failure, 2 invalid usage or an invalid spec."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Serve(serve::Serve),
    #[cfg(feature = "cluster")]
    Worker(cluster::Worker),
    Check(check::Check),
    Test(test::Test),
    DryRun(dry_run::DryRun),
    Doctor(doctor::Doctor),
    Tap(tap::Tap),
    Top(top::Top),
    Schema(schema::Schema),
    Init(init::Init),
    Import(import::Import),
    Plugin(plugin::PluginVerb),
    List(list::List),
    Inspect(inspect::Inspect),
    Logs(logs::Logs),
    Get(get::Get),
    Put(put::Put),
    Delete(delete::Delete),
    Copy(copy::Copy),
    Move(relocate::Move),
    Glob(glob::Glob),
    Diff(diff::Diff),
    Draw(draw::Draw),
    Create(create::Create),
    Update(update::Update),
    Start(start::Start),
    Stop(stop::Stop),
    Finish(finish::Finish),
    Wait(wait::Wait),
    Subscribe(subscribe::Subscribe),
    Drop(drop::Drop),
    Squash(squash::Squash),
    Revert(revert::Revert),
    Pipeline(pipeline::Pipeline),
    Marker(marker::Marker),
    #[command(name = "deadletter", alias = "dead-letter")]
    DeadLetter(dead_letter::DeadLetter),
    Sql(sql::Sql),
    Publish(publish::Publish),
    Compact(compact::Compact),
    Gc(gc::Gc),
    Fsck(fsck::Fsck),
    Upgrade(upgrade::Upgrade),
    Token(token::Token),
    Explain(explain::Explain),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    /// Its name, where it is about what runs on this machine.
    fn only_local(&self) -> Option<&'static str> {
        match self {
            Self::Run(_) => Some("`spout run`"),
            Self::Serve(_) => Some("`spout serve`"),
            #[cfg(feature = "cluster")]
            Self::Worker(_) => Some("`spout worker`"),
            Self::Check(_) => Some("`spout check`"),
            Self::Test(_) => Some("`spout test`"),
            Self::DryRun(_) => Some("`spout dry-run`"),
            Self::Doctor(_) => Some("`spout doctor`"),
            Self::Upgrade(_) => Some("`spout upgrade`"),
            Self::DeadLetter(verb) => verb.only_local(),
            _ => None,
        }
    }
}

/// What this binary is called with to compile one plugin for another process of it. It is no verb: nobody types it.
const COMPILES: &str = "compile-plugin";

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == COMPILES) {
        return compile_for_parent(args);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let json = cli.global.json;
    telemetry::start(
        json,
        match (cli.global.verbose, &cli.verb) {
            (true, _) => Volume::Verbose,
            (false, Verb::Run(_) | Verb::Serve(_)) => Volume::Normal,
            #[cfg(feature = "cluster")]
            (false, Verb::Worker(_)) => Volume::Normal,
            (false, _) => Volume::Quiet,
        },
    );
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Reported>() {
            Some(Reported(exit)) => ExitCode::from(*exit),
            None => Report::of(&error).map_or(ExitCode::SUCCESS, |report| report.print(json)),
        },
    }
}

/// A command line that is wrong, or one that asks for help.
fn refused(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that stops after the first screen of help is no failure.
            drop(error.print());
            ExitCode::SUCCESS
        }
        _ if json => Report::usage(&error.to_string()).print(true),
        _ => {
            drop(error.print());
            ExitCode::from(2)
        }
    }
}

/// How long a thread is kept that has nothing to do.
const IDLE: Duration = Duration::from_millis(100);

/// Says how many threads compute, where that is not as many as there are cores.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// Threads that may block at a time.
const BLOCKED: usize = 2048;

fn start(cli: Cli) -> Result<()> {
    allocator::share_arenas();
    open_files::raise();
    match &cli.verb {
        Verb::Run(run) => run.harden(&cli.global)?,
        Verb::Serve(serve) => serve.harden(&cli.global)?,
        _ => {}
    }
    // Threads that block are many for a moment only; those that hang in a file of a plugin are as many as its quota allows.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_keep_alive(IDLE).max_blocking_threads(BLOCKED);
    // While one computes, such as a plugin, another hears what other processes say, also where there is one core.
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) && env::var_os(THREADS).is_none() {
        runtime.worker_threads(2);
    }
    let runtime = runtime.build().map_err(|source| Error::Runtime { source })?;
    let outcome = runtime.block_on(run(cli));
    // A read that hangs in a plugin or on a disk must not keep a finished command from ending.
    runtime.shutdown_background();
    outcome
}

async fn run(cli: Cli) -> Result<()> {
    let mut printer = Printer::new(cli.global.json);
    let (global, printer) = (&cli.global, &mut printer);
    if let Some(what) = cli.verb.only_local() {
        global.only_local(what)?;
    }
    match cli.verb {
        Verb::Run(verb) => verb.run(global, printer).await,
        Verb::Serve(verb) => verb.run(global, printer).await,
        #[cfg(feature = "cluster")]
        Verb::Worker(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::Check(verb) => verb.run(global, printer).await,
        Verb::Test(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::DryRun(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::Doctor(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::Top(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::Tap(verb) => verb.run(global, printer).await,
        Verb::Schema(verb) => verb.run(printer),
        Verb::Init(verb) => verb.run(printer),
        Verb::Import(verb) => verb.run(global, printer),
        Verb::Plugin(verb) => verb.run(global, printer).await,
        Verb::List(verb) => verb.run(global, printer).await,
        Verb::Inspect(verb) => verb.run(global, printer).await,
        Verb::Logs(verb) => verb.run(global, printer).await,
        Verb::Get(verb) => verb.run(global, printer).await,
        Verb::Put(verb) => verb.run(global, printer).await,
        Verb::Delete(verb) => verb.run(global, printer).await,
        Verb::Copy(verb) => verb.run(global, printer).await,
        Verb::Move(verb) => verb.run(global, printer).await,
        Verb::Glob(verb) => verb.run(global, printer).await,
        Verb::Diff(verb) => verb.run(global, printer).await,
        Verb::Draw(verb) => verb.run(global, printer).await,
        Verb::Create(verb) => verb.run(global, printer).await,
        Verb::Update(verb) => verb.run(global, printer).await,
        Verb::Start(verb) => verb.run(global, printer).await,
        Verb::Stop(verb) => verb.run(global, printer).await,
        Verb::Finish(verb) => verb.run(global, printer).await,
        Verb::Wait(verb) => verb.run(global, printer).await,
        Verb::Subscribe(verb) => verb.run(global, printer).await,
        Verb::Drop(verb) => verb.run(global, printer).await,
        Verb::Squash(verb) => verb.run(global, printer).await,
        Verb::Revert(verb) => verb.run(global, printer).await,
        Verb::Pipeline(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::Marker(verb) => verb.run(global, printer).await,
        Verb::DeadLetter(verb) => Box::pin(verb.run(global, printer)).await,
        Verb::Sql(verb) => verb.run(global, printer).await,
        Verb::Publish(verb) => verb.run(global, printer).await,
        Verb::Compact(verb) => verb.run(global, printer).await,
        Verb::Gc(verb) => verb.run(global, printer).await,
        Verb::Fsck(verb) => verb.run(global, printer).await,
        Verb::Upgrade(verb) => verb.run(global, printer).await,
        Verb::Token(verb) => verb.run(printer),
        Verb::Explain(verb) => verb.run(printer),
        Verb::Completions(verb) => verb.run(printer),
        Verb::Man(verb) => verb.run(printer),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::*;

    /// As clap checks it itself where it was built with assertions, which it is not in the profile that tests have.
    #[test]
    fn arguments_are_consistent() {
        fn walk(command: &clap::Command) {
            let mut named = std::collections::BTreeSet::new();
            for argument in command.get_arguments() {
                let (verb, id) = (command.get_name(), argument.get_id());
                assert!(named.insert(format!("id {id}")), "`{verb}` has `{id}` twice");
                let long = argument.get_long().map(|long| format!("--{long}"));
                let short = argument.get_short().map(|short| format!("-{short}"));
                for name in long.into_iter().chain(short) {
                    assert!(named.insert(name.clone()), "`{verb}` has `{name}` twice");
                }
                // It panics where one is named that there is not.
                drop(command.get_arg_conflicts_with(argument));
            }
            command.get_subcommands().for_each(walk);
        }
        let mut cli = Cli::command();
        cli.build();
        walk(&cli);
    }

    #[test]
    fn every_help_has_examples() {
        fn walk(command: &clap::Command, path: &str, without: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            if !command.get_after_help().is_some_and(|text| text.to_string().contains("Examples:")) {
                without.push(path.clone());
            }
            command
                .get_subcommands()
                .filter(|inner| inner.get_name() != "help")
                .for_each(|inner| walk(inner, &path, without));
        }
        let mut without = Vec::new();
        walk(&Cli::command(), "", &mut without);
        assert!(without.is_empty(), "no examples: {without:?}");
    }

    #[test]
    fn examples_of_the_help_parse() {
        fn texts(command: &clap::Command, out: &mut Vec<String>) {
            out.extend(command.get_after_help().map(ToString::to_string));
            command.get_subcommands().for_each(|inner| texts(inner, out));
        }
        let mut all = Vec::new();
        texts(&Cli::command(), &mut all);
        let mut parsed = 0;
        for line in all.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| line.starts_with("spout ")) {
            let line = line.split("  ").next().unwrap().split(['|', '>', '#']).next().unwrap();
            let words = shell_words(line);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{line}: {error}");
            }
            parsed += 1;
        }
        assert!(parsed > 90, "only {parsed} examples");
    }

    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.trim().chars() {
            match (c, quote) {
                (c, Some(open)) if c == open => quote = None,
                (c, Some(_)) => word.push(c),
                ('\'' | '"', None) => quote = Some(c),
                (' ', None) => words.push(std::mem::take(&mut word)),
                (c, None) => word.push(c),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["spout", "list", "repo", "--json", "--store", "elsewhere"]).unwrap();
        assert!(cli.global.json);
        assert_eq!(cli.global.store, "elsewhere");
    }
}
