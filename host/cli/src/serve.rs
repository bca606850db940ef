//! `spout serve`: the HTTP API of a store, and the pipelines of a directory, until somebody stops them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use spout_base::{clock, reach::Reach};
use spout_data::{ByteSize, Period};
use spout_keeper::{Committer, Keeper};
use spout_pipeline::{Links, RunOptions, Until, Update};
use spout_server::{
    Beside, Board, Crowd, Error as ServerError, Identity, Inside, Limits, Listening, Service, Tokens, listen,
};
use spout_spec::load_all;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Global,
    error::Error,
    harden, otlp,
    print::Printer,
    progress::Progress,
    run::{Signals, Wish, prints},
    steer,
};
use crate::telemetry;

/// How long who reads what a server prints may stand still. The API says the same, and more.
const READER: Duration = Duration::from_secs(10);
/// How long a stop may take, and how long requests have to be answered once pipelines are over, however long those took.
const STOP: Duration = Duration::from_millis(4500);
const AT_LEAST: Duration = Duration::from_millis(500);

/// Serve a store over HTTP, and run pipelines beside it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout serve                                  the store and its pipelines, on http://127.0.0.1:1653
  spout create pipeline -f my.yaml             one more pipeline of the store; a server that runs starts it
  spout serve --allow ports --tokens tokens.json   what is sent by HTTP may listen at ports, and reach nothing else of this machine
  spout serve pipelines/                       and every pipeline whose spec is in that directory
  spout token create --tokens tokens.json --name ada --scope write:pictures --scope 'read:*'
  spout serve --tokens tokens.json --listen 0.0.0.0:1653 --cert chain.pem --key key.pem
  spout --server http://127.0.0.1:1653 list repo
  curl http://127.0.0.1:1653/v1/repos/pictures/files/master/a.jpg -o a.jpg

/openapi.json describes every route. Without --tokens, everyone on this machine may do everything, and only this machine is
answered. Other machines are answered over TLS, with a token.

Ctrl-C or SIGTERM: pipelines commit what they have read, requests that were begun are answered, and the server ends. A second
one ends it at once. A pipeline that fails is reported, and `/v1/pipelines` says why; the others and the API go on.")]
pub(super) struct Serve {
    /// Spec files, or directories of them (.yaml, .yml, .json).
    #[arg(value_name = "SPEC|DIR")]
    specs: Vec<PathBuf>,
    /// Host and port; with port 0 the system chooses one, and it is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1653")]
    listen: String,
    /// File of the tokens that let callers in, as `spout token create` makes it. A change counts at once.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Certificate chain in PEM; with --key, answers are given over TLS.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Key of the certificate in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Connections at the same time; others are told to come back.
    #[arg(long, value_name = "COUNT", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    max_connections: u32,
    /// Connections at the same time from one address (one /64 of IPv6); others are told to come back. Half of --max-connections, or
    /// 32 if that is more, and from this machine as many as there are, unless it is given.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    max_per_address: Option<u32>,
    /// How long the head of a request may take; a connection without requests is closed after it.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    head_time: Period,
    /// The largest file that can be put by one request.
    #[arg(long, value_name = "SIZE", default_value = "64GiB")]
    max_body: ByteSize,
    /// What specs that are sent by HTTP may reach of this machine, as far as their senders' tokens let them create pipelines at
    /// all: commands (programs outside the sandbox), files, environment, network (connections to others), ports; may be repeated.
    /// Nothing, unless it is named here.
    #[arg(long = "allow", value_name = "WHAT")]
    allowed: Vec<Reach>,
    /// Where relative paths start in specs that are sent by HTTP.
    #[arg(long, value_name = "DIR", default_value = ".")]
    base: PathBuf,
    /// Cut commits early when the process uses more memory than this.
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<ByteSize>,
    /// Give this process, before it starts, no files and TCP ports but those that this command line and its specs name, and few
    /// system calls, for good: a wall behind the sandbox of plugins. Pipelines that are sent by HTTP get no more than that, whatever
    /// --allow says, which opens the directory of --base (files), all ports to listen at (ports) or to connect to (network). Needs
    /// Linux with landlock; not with `--allow commands`.
    #[arg(long)]
    harden: bool,
}

impl Serve {
    /// Holds this process to what it needs, if it is to be.
    pub(super) fn harden(&self, global: &Global) -> Result<(), Error> {
        if !self.harden {
            return Ok(());
        }
        let server = harden::Server {
            specs: specs_of(&self.specs)?,
            door: harden::Door {
                reads: [&self.cert, &self.key].into_iter().flatten().map(PathBuf::as_path).collect(),
                tokens: self.tokens.as_deref(),
                listen: &self.listen,
            },
            allowed: &self.allowed,
            base: &self.base,
        };
        harden::server(&server, global)
    }

    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let paths = specs_of(&self.specs)?;
        let specs = load_all(&paths)?;
        // Said at the start, as what is wrong with each.
        Links::between(&specs)?;
        let store = global.store_to_serve().await?;
        let tokens = self.tokens.as_deref().map(|file| Arc::new(Tokens::at(file)));
        // A file that is wrong is said at the start, not to the first who calls.
        tokens.as_ref().map(|tokens| tokens.list()).transpose()?;
        let per_address = self.max_per_address.map(|most| most as usize);
        let crowd = Crowd { most: self.max_connections as usize, per_address };
        let limits = Limits { crowd, head: self.head_time.0, max_body: self.max_body.0 };
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        let identity =
            identity.map(|(chain, key)| Identity::read(chain, key)).transpose().map_err(ServerError::from)?;
        let listening = listen(&self.listen, identity, tokens.is_some(), limits).await?;
        let sent = otlp::begin()?;
        let memory_high = self.memory_high.map(|size| size.0);
        let access = Some(Arc::new(Inside::new(&store)) as _);
        let options = RunOptions { until: Until::Stopped, json: printer.json(), memory_high, access, leads: None };
        let mut signals = Signals::new(printer)?;
        if tokens.is_none() {
            tracing::warn!("everyone on this machine may do everything here; --tokens FILE asks for tokens");
        }
        printer.wait_at_most(READER);
        say(&listening, specs.len(), printer)?;
        let (sender, updates) = mpsc::unbounded_channel();
        let plain = !specs.iter().any(prints);
        let keeper = Keeper::new(&store, &global.open_plugins()?, specs, options, sender);
        let board = Arc::new(Board::new(&store, keeper.statuses()));
        sent.shows(&board);
        let journal = Arc::clone(&board);
        telemetry::tell(move |pipeline, level, text| journal.log(pipeline, level, text));
        let unreadable = |source| Error::ReadFile { path: self.base.clone(), source };
        let base = fs::canonicalize(&self.base).map_err(unreadable)?;
        let (shelf, allowed) = (keeper.shelf(), self.allowed.clone());
        let (plugins, committer) = (keeper.plugins(), keeper.committer());
        let beside = Beside { board: Arc::clone(&board), plugins, shelf, committer, ran: None, allowed, base };
        // Who may read the memory of this process needs no token.
        let own = steer::answer(global, &store, Beside { allowed: Reach::ALL.to_vec(), ..beside.clone() });
        let (stop, close, commit) = (CancellationToken::new(), CancellationToken::new(), keeper.committer());
        let service = Service::new(store, tokens, beside, &limits, close.clone());
        let mut answering = tokio::spawn(listening.serve(service));
        let keeping = tokio::spawn(keeper.run(stop.clone()));
        board.depends_on("keeper", keeping.abort_handle());
        let progress = Progress::new(printer.is_terminal() && plain);
        let mut watch = Watch { commit, board, progress, printer, stop, stopping: None, broken: None };
        watch.until_over(updates, &mut signals, &mut answering).await?;
        keeping.await.map_err(|error| Error::Runtime { source: error.into() })?;
        // Whoever listens has heard how pipelines ended.
        close.cancel();
        own.close().await;
        sent.close().await;
        if let Some(source) = watch.broken {
            return Err(Error::Runtime { source }.into());
        }
        let last = clock::now() + AT_LEAST;
        let last = watch.stopping.map_or(last, |since| last.max(since + STOP));
        tokio::select! {
            over = answering => over.map_err(|error| Error::Runtime { source: error.into() })?,
            () = sleep_until(last) => tracing::warn!("some requests were not answered to their end when the server stopped"),
            () = stopped(&mut signals) => return Err(Error::Interrupted.into()),
        }
        Ok(())
    }
}

/// Spec files, and those of directories by their names.
fn specs_of(given: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let is_spec = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension)) && path.is_file()
    };
    let mut paths = Vec::new();
    for path in given {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let unreadable = |source| Error::ReadFile { path: path.clone(), source };
        let mut below = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            below.push(entry.map_err(unreadable)?.path());
        }
        below.retain(|path| is_spec(path));
        below.sort();
        paths.extend(below);
    }
    Ok(paths)
}

fn say(listening: &Listening, pipelines: usize, printer: &mut Printer) -> Result<()> {
    let url = format!("{}://{}", if listening.is_secure() { "https" } else { "http" }, listening.address);
    if printer.json() {
        printer.value(&json!({"event": "serving", "url": url, "address": listening.address, "pipelines": pipelines}))
    } else {
        printer.line(format!("serving {url}"))
    }
}

/// What runs beside the API.
struct Watch<'a> {
    /// Has pipelines commit what they have read.
    commit: Committer,
    board: Arc<Board>,
    progress: Progress,
    printer: &'a mut Printer,
    /// Has pipelines commit what they have read and stop.
    stop: CancellationToken,
    /// Since when it is to stop.
    stopping: Option<Instant>,
    /// Why nobody answers requests any more.
    broken: Option<io::Error>,
}

/// Waits for the signal to stop.
async fn stopped(signals: &mut Signals) {
    while !matches!(signals.next().await, Wish::Stop) {}
}

impl Watch<'_> {
    /// Until it was stopped, and every pipeline is over.
    async fn until_over(
        &mut self,
        mut updates: mpsc::UnboundedReceiver<Update>,
        signals: &mut Signals,
        answering: &mut JoinHandle<()>,
    ) -> Result<(), Error> {
        let mut tick = interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => {
                        self.board.note(&update);
                        let shown = self.progress.show(&update, clock::now(), self.printer);
                        self.seen(shown);
                    }
                    // The keeper is gone, and so is every pipeline.
                    None => return Ok(()),
                },
                wish = signals.next() => match wish {
                    Wish::Commit => self.commit.all(),
                    Wish::Stop if self.stop.is_cancelled() => return Err(Error::Interrupted),
                    Wish::Stop => {
                        tracing::info!("stopping: pipelines commit what they have read, requests are answered; a second signal stops at once");
                        self.stop.cancel();
                        self.stopping = Some(clock::now());
                    }
                },
                over = &mut *answering, if self.broken.is_none() => {
                    // It ends by a panic alone: a server that nobody can ask stops in order, for whoever starts it again.
                    let source = over.err().map_or_else(|| io::Error::other("it has ended"), io::Error::from);
                    tracing::error!(%source, "a bug: requests are not answered any more; the server stops");
                    self.broken = Some(source);
                    self.stop.cancel();
                    self.stopping.get_or_insert_with(clock::now);
                }
                _ = tick.tick() => {
                    let shown = self.progress.tick(clock::now(), self.printer);
                    self.seen(shown);
                }
            }
        }
    }

    /// A server whose output nobody reads goes on.
    fn seen(&self, shown: Result<()>) {
        if let Err(error) = shown {
            tracing::debug!(%error, "nobody reads what is printed");
        }
    }
}
