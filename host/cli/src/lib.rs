//! Arguments, printing, exit codes: one file a verb.
//!
//! [`main`] parses the command line, starts what the verb needs, and turns its answer into an exit code: 0 done, 1 failed,
//! 2 wrong usage or a wrong spec. `report` prints errors with their code and causes; `print` everything else, for people
//! or, with `--json`, for programs.
//!
//! **Invariant**: no verb decides anything about data: what is read, written or refused is up to the rooms below.

mod answer;
mod busy;
mod changes;
mod check;
mod commit;
mod compact;
mod copy;
mod create;
mod delete;
mod diff;
mod draw;
mod drop;
mod error;
mod explain;
mod fates;
mod findings;
mod finish;
mod fsck;
mod gc;
mod get;
mod glob;
mod harden;
mod import;
mod inspect;
mod kept;
mod list;
mod logs;
mod managed;
mod marker;
mod open_files;
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
mod stop;
mod subscribe;
mod table_format;
pub mod telemetry;
mod test;
mod token;
mod update;
mod wait;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, error::ErrorKind};
use spout_api::{Api, Error as ApiError, Local, Pipelines, Plugins as KeptPlugins};
use spout_base::{
    reach::Reach,
    secret::{Secret, SecretSpec},
};
use spout_client::Remote;
use spout_keeper::{Kept, Managed};
use spout_plugin::{Plugins, user_cache};
use spout_repo::Store;

use self::{
    error::Error,
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
  spout schema --example > my.yaml      a spec to start from
  spout check my.yaml                   what it would do, and whether it can
  spout test my.yaml                    runs the tests in it
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

/// Options of every verb.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Where the repos are: a directory, or a bucket prefix as s3://BUCKET/PREFIX, gs:// or az://.
    #[arg(long, global = true, env = "SPOUT_STORE", value_name = "URL", default_value = ".spout/store")]
    store: String,
    /// Ask a server (`spout serve`) at this address, as in https://HOST:1653, instead of a store.
    #[arg(long, global = true, env = "SPOUT_SERVER", value_name = "URL")]
    server: Option<String>,
    /// File with the token that the server asks for; or set `SPOUT_TOKEN` to the token itself.
    #[arg(long, global = true, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Directory of the plugins.
    #[arg(long, global = true, env = "SPOUT_PLUGINS", value_name = "DIR", default_value = "plugins")]
    plugins: PathBuf,
    /// Cache of compiled plugins, a directory of your own; can be deleted at any time [default: spout in `XDG_CACHE_HOME`
    /// or ~/.cache]
    #[arg(long, global = true, env = "SPOUT_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print JSON, one value a line; errors too.
    #[arg(long, global = true)]
    json: bool,
    /// Log what the host does, to standard error; `SPOUT_LOG` sets a finer filter.
    #[arg(short, long, global = true)]
    verbose: bool,
}

impl Global {
    /// The store, which has to be there.
    pub(crate) async fn store(&self) -> Result<Store> {
        self.only_local("this command")?;
        Ok(Store::open_existing(&self.store).await?)
    }

    /// The store, which has to be there, to change it: one that is new to us is tried out first.
    pub(crate) async fn store_to_write(&self) -> Result<Store> {
        self.store().await?;
        self.store_to_make().await
    }

    /// The store, which is made where there is none.
    pub(crate) async fn store_to_make(&self) -> Result<Store> {
        self.only_local("this command")?;
        Ok(Store::open(&self.store).await?)
    }

    /// The server, or the store, which has to be there.
    pub(crate) async fn api(&self) -> Result<Box<dyn Api>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Local::new(self.store().await?))),
        }
    }

    /// The server, or the store, to change it.
    pub(crate) async fn api_to_write(&self) -> Result<Box<dyn Api>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Local::new(self.store_to_write().await?))),
        }
    }

    /// The server, or the store, which is made where there is none.
    pub(crate) async fn api_to_make(&self) -> Result<Box<dyn Api>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Local::new(self.store_to_make().await?))),
        }
    }

    /// The pipelines of the server, or of the store, which has to be there.
    pub(crate) async fn pipelines(&self) -> Result<Box<dyn Pipelines>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(managed(self.store().await?)),
        }
    }

    /// The same, to change them.
    pub(crate) async fn pipelines_to_write(&self) -> Result<Box<dyn Pipelines>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(managed(self.store_to_write().await?)),
        }
    }

    /// The same of a store that is made where there is none.
    pub(crate) async fn pipelines_to_make(&self) -> Result<Box<dyn Pipelines>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(managed(self.store_to_make().await?)),
        }
    }

    /// The plugins that the store, or that of the server, keeps.
    pub(crate) async fn kept_plugins(&self) -> Result<Box<dyn KeptPlugins>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Kept::new(&self.store().await?, self.open_plugins()?))),
        }
    }

    /// The same, to change them.
    pub(crate) async fn kept_plugins_to_write(&self) -> Result<Box<dyn KeptPlugins>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Kept::new(&self.store_to_write().await?, self.open_plugins()?))),
        }
    }

    /// The same of a store that is made where there is none.
    pub(crate) async fn kept_plugins_to_make(&self) -> Result<Box<dyn KeptPlugins>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Kept::new(&self.store_to_make().await?, self.open_plugins()?))),
        }
    }

    /// Refuses what a server cannot be asked for.
    pub(crate) fn only_local(&self, what: &'static str) -> Result<(), ApiError> {
        if self.server().is_some() { Err(ApiError::OnlyLocal { what }) } else { Ok(()) }
    }

    /// The server, where one is named; an empty variable names none.
    fn server(&self) -> Option<&str> {
        self.server.as_deref().filter(|server| !server.is_empty())
    }

    fn remote(&self) -> Result<Option<Remote>> {
        let Some(server) = self.server() else { return Ok(None) };
        Ok(Some(Remote::new(server, self.secret()?)?))
    }

    /// What the server asks for. It has no place on a command line, which everyone on the machine can read.
    fn secret(&self) -> Result<Option<Secret>, Error> {
        let spec = match &self.token {
            Some(file) => SecretSpec::File(file.clone()),
            None if std::env::var_os("SPOUT_TOKEN").is_some() => SecretSpec::Env("SPOUT_TOKEN".into()),
            None => return Ok(None),
        };
        spec.read(Path::new("")).map(Some).map_err(|why| Error::Token { why })
    }

    /// The plugins, none of which is granted what the host keeps for itself.
    pub(crate) fn open_plugins(&self) -> Result<Plugins> {
        let cache = self.cache.clone().or_else(user_cache);
        let store = Store::local(&self.store).map(|dir| ("the store", dir));
        Ok(Plugins::open_beside(&self.plugins, cache.as_deref(), store.as_slice())?)
    }

    /// The cache, for what a build cannot do without.
    pub(crate) fn cache_dir(&self) -> Result<PathBuf, Error> {
        self.cache.clone().or_else(user_cache).ok_or_else(|| Error::Usage {
            verb: "plugin build",
            what: "there is no home directory to keep toolchains in; name a directory with --cache".into(),
        })
    }
}

/// The pipelines of a store, to one who may have them do anything on this machine.
fn managed(store: Store) -> Box<dyn Pipelines> {
    Box::new(Managed::new(store, &Reach::ALL))
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Serve(serve::Serve),
    Check(check::Check),
    Test(test::Test),
    Schema(schema::Schema),
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
    Marker(marker::Marker),
    Sql(sql::Sql),
    Publish(publish::Publish),
    Compact(compact::Compact),
    Gc(gc::Gc),
    Fsck(fsck::Fsck),
    Token(token::Token),
    Explain(explain::Explain),
}

impl Verb {
    /// Its name, where it is about files and plugins of this machine.
    fn only_local(&self) -> Option<&'static str> {
        match self {
            Self::Run(_) => Some("`spout run`"),
            Self::Serve(_) => Some("`spout serve`"),
            Self::Check(_) => Some("`spout check`"),
            Self::Test(_) => Some("`spout test`"),
            Self::Plugin(_) => Some("`spout plugin`"),
            _ => None,
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
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

fn start(cli: Cli) -> Result<()> {
    open_files::raise();
    if let Verb::Run(run) = &cli.verb
        && let Some(specs) = run.hardened()
    {
        harden::process(specs, &cli.global)?;
    }
    let runtime =
        // Threads that block are many for a moment only.
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE).build().map_err(|source| Error::Runtime { source })?;
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
        Verb::Check(verb) => verb.run(global, printer).await,
        Verb::Test(verb) => verb.run(global, printer).await,
        Verb::Schema(verb) => verb.run(printer),
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
        Verb::Marker(verb) => verb.run(global, printer).await,
        Verb::Sql(verb) => verb.run(global, printer).await,
        Verb::Publish(verb) => verb.run(global, printer).await,
        Verb::Compact(verb) => verb.run(global, printer).await,
        Verb::Gc(verb) => verb.run(global, printer).await,
        Verb::Fsck(verb) => verb.run(global, printer).await,
        Verb::Token(verb) => verb.run(printer),
        Verb::Explain(verb) => verb.run(printer),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
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
