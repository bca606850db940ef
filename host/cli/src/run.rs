//! `spout run`: pipelines, until they are done or somebody stops them.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use spout_api::Error as ApiError;
use spout_base::{clock, terminal};
use spout_consumer::ConsumerSpec;
use spout_data::ByteSize;
use spout_keeper::Ran;
use spout_pipeline::{Host, Parts, RunOptions, Until, Update};
use spout_producer::Class;
use spout_repo::Store;
use spout_server::{Board, Inside};
use spout_spec::{Loaded, all_handlers, load_every};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

#[cfg(feature = "cluster")]
use super::cluster;
use super::{
    Global,
    certificate::Certificate,
    dead_letter,
    error::Error,
    fates,
    findings::{self, Examined, Finding, examine_all},
    harden, otlp,
    pipes::stderr,
    print::Printer,
    progress::Progress,
    report::{Report, Reported},
    steer, telemetry,
    ui::Ui,
};

/// Run pipelines until they are stopped; Ctrl-C commits what was read and stops.
#[derive(Debug, Args)]
#[command(after_help = concat!("Examples:
  spout run my.yaml
  spout run one.yaml two.yaml --store ./store --plugins ./plugins
  spout run my.yaml --until idle        stop when there is nothing more to read for now
  spout run my.yaml --until ended --fail-on-dead-letters=10   exit 1 if there are more than 10 dead letters
  journalctl -o json | spout run in.yaml   a spec with `stdin: {}`; stops at the end of input
  spout run my.yaml --reset-node w      discard what handler w held back in the last commit
  spout run my.yaml --reprocess --until idle   make everything anew, after a handler was changed
  spout run my.yaml --harden            with no files and ports but those that the spec names
  spout run my.yaml --ui                with the console at a free port of this machine, which is printed
  spout run my.yaml --ui=127.0.0.1:1653
  spout run my.yaml --json | jq 'select(.event == \"committed\")'
", clustered!("  spout run my.yaml --cluster --join-token token       shared with the `spout worker` processes of the store
  spout run my.yaml --cluster --join-token token --reprocess --until idle
"), "
Ctrl-C or SIGTERM: every pipeline commits what it has read and stops, with exit code 0. A second one stops at once; the next
run rereads what was not committed. A plugin that hangs is abandoned within seconds. SIGHUP: every pipeline commits and
continues.

At the end, each pipeline reports what became of its messages: rows, dead letters (set aside with the reason), late and
filtered rows, dropped messages; and why, most common reason first. A pipeline that produced no rows because all of its
messages failed prints a warning; with --fail-on-dead-letters the exit code is 1.

A pipeline that listens (tcp, http) prints its address, even if its spec leaves the port to the system (port 0). It is idle
once a client has connected, none is connected any more, and everything is committed. One that reads the repo of another
pipeline of the same run is idle when that one has stopped."))]
pub(super) struct Run {
    /// Spec files, YAML or JSON, with one or more pipelines each.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Stop when every partition has ended, or has nothing to read for now.
    #[arg(long, value_enum, value_name = "WHEN")]
    until: Option<When>,
    /// Cut commits early when the process uses more memory than this.
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<ByteSize>,
    /// Exit with 1 if there are more than N dead letters (messages, rows or files that were set aside); N is 0 by default.
    /// Everything is committed regardless.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    fail_on_dead_letters: Option<u64>,
    /// Start this handler empty, whatever its state in the last commit; may be repeated.
    #[arg(long, value_name = "HANDLER")]
    reset_node: Vec<String>,
    /// Read every source from its beginning again: files, marker and handlers' state of the branches begin anew, and history
    /// keeps what was there.
    #[arg(long)]
    reprocess: bool,
    /// Give this process, before it starts, no files and TCP ports but those that the specs name, and few system calls, for good: a
    /// wall behind the sandbox of plugins. Needs Linux with landlock; not for specs with `trusted: true`.
    #[arg(long)]
    harden: bool,
    #[command(flatten)]
    ui: Ui,
    #[command(flatten)]
    certificate: Certificate,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    shared: cluster::Shared,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// Every partition has ended.
    Ended,
    /// Every partition has nothing to read for now.
    Idle,
}

impl Run {
    /// Holds this process to what its specs name, if it is to be.
    pub(super) fn harden(&self, global: &Global) -> Result<(), Error> {
        if self.harden { harden::process(&self.specs, self.ui.needs(&self.certificate), global) } else { Ok(()) }
    }

    /// One that reads what there is to read for now, and stops.
    pub(super) fn until_idle(specs: &[PathBuf]) -> Self {
        Self {
            specs: specs.to_vec(),
            until: Some(When::Idle),
            memory_high: None,
            fail_on_dead_letters: None,
            reset_node: Vec::new(),
            reprocess: false,
            harden: false,
            ui: Ui::default(),
            certificate: Certificate::default(),
            #[cfg(feature = "cluster")]
            shared: cluster::Shared::default(),
        }
    }

    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (specs, wrong) = load_every(&self.specs);
        self.loaded(specs, wrong, global, printer).await
    }

    /// The same with the dead letters of the pipelines in the place of what they read, into the repo `to` or that of each with
    /// `-replayed` behind its name.
    pub(super) async fn replay(&self, to: Option<&str>, global: &Global, printer: &mut Printer) -> Result<()> {
        let (specs, mut wrong) = load_every(&self.specs);
        let mut replays = Vec::new();
        for loaded in specs {
            let name = to.map_or_else(|| format!("{}-replayed", loaded.spec.pipeline.name), str::to_owned);
            match loaded.replaying(&name) {
                Ok(loaded) => replays.push(loaded),
                Err(error) => wrong.push(error),
            }
        }
        self.loaded(replays, wrong, global, printer).await
    }

    /// The same, into the tables of the pipelines themselves, which may not run meanwhile.
    pub(super) async fn replay_into_source(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (specs, mut wrong) = load_every(&self.specs);
        let store = global.store_to_write().await?;
        let mut replays = Vec::new();
        for loaded in specs {
            let (name, branch) = (loaded.spec.pipeline.name.clone(), loaded.spec.commit.branch.clone());
            let writer = store.repo(&name).await?.written_by(&branch).await?;
            if let Some(holder) = writer.and_then(|writer| writer.running) {
                let by = holder.process.to_string();
                return Err(ApiError::InUse { branch: format!("{name}@{branch}"), by }.into());
            }
            match loaded.replaying_into_source() {
                Ok(loaded) => replays.push(loaded),
                Err(error) => wrong.push(error),
            }
        }
        let names: Vec<(String, String)> = replays
            .iter()
            .map(|loaded| (loaded.spec.pipeline.name.clone(), loaded.spec.commit.branch.clone()))
            .collect();
        self.loaded(replays, wrong, global, printer).await?;
        for (name, branch) in names {
            dead_letter::left_out(&format!("{name}@{branch}"), global, printer).await?;
        }
        Ok(())
    }

    async fn loaded(
        &self,
        specs: Vec<Loaded>,
        wrong: Vec<spout_spec::Error>,
        global: &Global,
        printer: &mut Printer,
    ) -> Result<()> {
        let (examined, findings) = Box::pin(examine_all(specs, wrong, global)).await;
        // A handler that crashes when it is opened is of its pipeline alone, which tries it again and says how that ends.
        let findings: Vec<Finding> = findings.into_iter().filter(|finding| !finding.is_crash()).collect();
        findings::all(&findings, printer.json())?;
        let (specs, examined): (Vec<Loaded>, Vec<Examined>) = examined.into_iter().unzip();
        self.can_end(&specs)?;
        self.can_reread(&specs)?;
        let parts = examined.into_iter().filter_map(|examined| examined.parts);
        let parts = parts.map(|parts| parts.with_reset(&self.reset_node));
        let pipelines = parts.map(|parts| if self.reprocess { parts.reprocessing() } else { parts });
        let pipelines: Vec<Parts> = pipelines.collect();
        let store = global.store_to_make().await?;
        self.can_reset(&specs, &store).await?;
        self.is_answering()?;
        #[cfg(feature = "cluster")]
        if self.shared.cluster {
            let how = (self.until(), self.memory_high.map(|size| size.0), self.reprocess);
            let seen = (&self.ui, &self.certificate);
            return Box::pin(cluster::run(&specs, &self.shared.joining, seen, how, global, printer)).await;
        }
        let options = RunOptions {
            until: self.until(),
            json: printer.json(),
            memory_high: self.memory_high.map(|size| size.0),
            access: Some(Arc::new(Inside::new(&store))),
            leads: None,
        };
        if self.harden {
            harden::started()?;
        }
        let ui = self.ui.open(&self.certificate).await?;
        let sent = otlp::begin()?;
        let mut signals = Signals::new(printer)?;
        let made = pipelines.clone();
        let (host, updates) = Host::start(pipelines, &store, &options);
        let ran = Ran::new(host.orders(), &made, specs.clone());
        let beside = steer::beside(global, &store, &ran)?;
        let board = Arc::clone(&beside.board);
        let control = steer::answer(global, &store, beside.clone());
        let ui = ui.map(|ui| ui.serve(&store, beside, printer)).transpose()?;
        // Tables that a consumer prints and a line that redraws itself would write over each other.
        let progress = Progress::new(printer.is_terminal() && !specs.iter().any(prints));
        sent.shows(&board);
        let mut watch =
            Watch { host, ran, board, progress, printer, stopping: false, gone: None, failed: None, dead_letters: 0 };
        watch.until_over(updates, &mut signals).await?;
        if let Some(ui) = ui {
            ui.close(async { while !matches!(signals.next().await, Wish::Stop) {} }).await?;
        }
        // Once figures are as they are at the end.
        sent.close().await;
        control.close().await;
        watch.outcome(self.fail_on_dead_letters)
    }

    fn until(&self) -> Until {
        match self.until {
            None => Until::Stopped,
            Some(When::Ended) => Until::Ended,
            Some(When::Idle) => Until::Idle,
        }
    }

    /// Refuses to begin anew where nothing can be read again.
    fn can_reread(&self, specs: &[Loaded]) -> Result<(), Error> {
        let gone =
            |loaded: &&Loaded| loaded.spec.sources().any(|(_, source)| source.spec.promise().class == Class::Push);
        match specs.iter().find(gone).filter(|_| self.reprocess) {
            None => Ok(()),
            Some(loaded) => Err(Error::Usage {
                verb: "run",
                what: format!(
                    "`--reprocess` would lose rows: pipeline `{}` takes what others send, which cannot be read again; run the others alone",
                    loaded.spec.pipeline.name
                ),
            }),
        }
    }

    /// Refuses a certificate for nobody.
    fn is_answering(&self) -> Result<(), Error> {
        #[cfg(feature = "cluster")]
        let others = self.shared.cluster;
        #[cfg(not(feature = "cluster"))]
        let others = false;
        if self.certificate.files().is_none() || self.ui.is_wanted() || others {
            return Ok(());
        }
        Err(Error::Usage {
            verb: "run",
            what: "`--cert` is for those who reach this process; --ui opens it to them".into(),
        })
    }

    /// Refuses to empty a handler that is neither in a spec nor in a last commit.
    async fn can_reset(&self, specs: &[Loaded], store: &Store) -> Result<()> {
        if self.reset_node.is_empty() {
            return Ok(());
        }
        let mut there = BTreeSet::new();
        for Loaded { spec, .. } in specs {
            there.extend(all_handlers(&spec.node, "node").iter().map(|(_, node)| node.id().to_owned()));
            let reference = format!("{}@{}", spec.pipeline.name, spec.commit.branch).parse()?;
            if let Ok((_, head)) = store.resolve(&reference).await {
                // What is kept besides is not of handlers.
                let of_handlers = head.state.keys().filter(|part| !part.starts_with(NOT_OF_HANDLERS));
                there.extend(of_handlers.filter_map(|part| part.split('/').next()).map(str::to_owned));
            }
        }
        let Some(missing) = self.reset_node.iter().find(|name| !there.contains(*name)) else { return Ok(()) };
        let named: Vec<String> = there.iter().map(|name| format!("`{name}`")).collect();
        let has =
            if named.is_empty() { "there are none".to_owned() } else { format!("there are {}", named.join(", ")) };
        let what =
            format!("`--reset-node {missing}` names no handler of these pipelines or of their last commits; {has}");
        Err(Error::Usage { verb: "run", what }.into())
    }

    /// Refuses to wait for an end that cannot come.
    fn can_end(&self, specs: &[Loaded]) -> Result<(), Error> {
        let endless = |loaded: &&Loaded| loaded.spec.sources().any(|(_, source)| !source.spec.may_end());
        match specs.iter().find(endless).filter(|_| matches!(self.until, Some(When::Ended))) {
            None => Ok(()),
            Some(loaded) => Err(Error::Usage {
                verb: "run",
                what: format!(
                    "`--until ended` would wait forever: pipeline `{}` listens for clients and never ends; use `--until idle`",
                    loaded.spec.pipeline.name
                ),
            }),
        }
    }
}

/// Parts of a commit's state that belong to no handler: the columns of decoders.
const NOT_OF_HANDLERS: &str = "decoder/";

/// Running pipelines, and what was heard of them.
struct Watch<'a> {
    host: Host,
    /// What is told to those who ask.
    ran: Ran,
    board: Arc<Board>,
    progress: Progress,
    printer: &'a mut Printer,
    stopping: bool,
    /// Whoever read our output has gone away.
    gone: Option<anyhow::Error>,
    /// Exit code of the first failure; it was reported when it came.
    failed: Option<u8>,
    dead_letters: u64,
}

impl Watch<'_> {
    async fn until_over(
        &mut self,
        mut updates: mpsc::UnboundedReceiver<Update>,
        signals: &mut Signals,
    ) -> Result<(), Error> {
        let mut tick = interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut over) = (false, false);
        while !(told && over) {
            let shown = tokio::select! {
                update = updates.recv(), if !told => match update {
                    Some(update) => self.on_update(&update),
                    None => {
                        told = true;
                        Ok(())
                    }
                },
                failure = self.host.failure(), if !over => {
                    match failure {
                        Some(error) => self.report(error),
                        None => over = true,
                    }
                    Ok(())
                }
                wish = signals.next() => match wish {
                    Wish::Commit => {
                        self.host.commit();
                        Ok(())
                    }
                    Wish::Stop if self.stopping => return Err(Error::Interrupted),
                    Wish::Stop => {
                        tracing::info!("stopping: every pipeline commits what it has read; a second signal stops at once");
                        self.stop();
                        Ok(())
                    }
                },
                _ = tick.tick() => self.progress.tick(clock::now(), self.printer),
            };
            if let (Err(gone), None) = (shown, &self.gone) {
                // Whoever watched has gone away: commit what was taken, as for Ctrl-C. If that is what was waited for, it is heard next.
                self.gone = Some(gone);
                if !self.printer.is_ending() {
                    self.stop();
                }
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.host.stop();
    }

    fn on_update(&mut self, update: &Update) -> Result<()> {
        self.ran.hear(update);
        self.board.note(update);
        if self.gone.is_some() {
            return Ok(());
        }
        self.progress.show(update, clock::now(), self.printer)?;
        if let Update::Stopped { pipeline, counts, reasons, .. } = update {
            self.dead_letters += counts.dead_letters;
            if let Some(text) = fates::all_failed(pipeline, counts, reasons).filter(|_| !self.printer.json()) {
                // Nobody is left to warn if standard error is closed.
                let text = format!("warning: {}\n", terminal::plain(&text));
                self.progress.aside(|| drop(stderr::write(&text, |lines| telemetry::left_out(lines, false))));
            }
        }
        Ok(())
    }

    /// Says at once what failed: the others may run on for days.
    fn report(&mut self, error: spout_pipeline::Error) {
        if let Some(report) = Report::of(&error.into()) {
            let json = self.printer.json();
            self.progress.aside(|| report.say(json));
            self.failed.get_or_insert(report.exit());
        }
    }

    fn outcome(self, allowed: Option<u64>) -> Result<()> {
        match (self.gone, self.failed, allowed) {
            (Some(gone), ..) => Err(gone),
            (None, Some(exit), _) => Err(Reported(exit).into()),
            (None, None, Some(allowed)) if self.dead_letters > allowed => {
                Err(Error::DeadLetters { dead_letters: self.dead_letters, allowed }.into())
            }
            (None, None, _) => Ok(()),
        }
    }
}

pub(super) fn prints(loaded: &Loaded) -> bool {
    loaded.spec.consumers.iter().any(ConsumerSpec::prints)
}

pub(super) enum Wish {
    Stop,
    Commit,
}

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens from now on. The first wish to stop is also one of `printer`, which may wait just then for somebody to read.
    pub(super) fn new(printer: &mut Printer) -> Result<Self, Error> {
        let mut others = Self::listen()?;
        let ending: Arc<AtomicBool> = printer.ending();
        tokio::spawn(async move {
            while !matches!(others.next().await, Wish::Stop) {}
            ending.store(true, Ordering::SeqCst);
        });
        Self::listen()
    }

    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|source| Error::Runtime { source });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Commit,
        }
    }
}
