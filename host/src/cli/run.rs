//! `spout run`: pipelines, until they are done or somebody stops them.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Global, error::Error, print::Printer, progress::Progress};
use crate::{
    clock,
    consumer::ConsumerSpec,
    data::ByteSize,
    pipeline::{Host, Links, Parts, RunOptions, Until},
    repo::Store,
    spec::{Loaded, load_all},
};

/// Run pipelines until they are stopped; Ctrl-C commits what was taken and stops.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout run my.yaml
  spout run one.yaml two.yaml --store ./store --plugins ./plugins
  spout run my.yaml --until idle        stop when there is nothing more for now
  journalctl -o json | spout run in.yaml   a spec with `stdin: {}`; stops where the input ends
  spout run my.yaml --reset-node w      let go of what handler w held back in the last commit
  spout run my.yaml --json | jq 'select(.event == \"committed\")'

Ctrl-C or SIGTERM: every pipeline commits what it has taken and stops, exit code 0. A second one stops at once; what was
not committed is read again by the next run. SIGHUP: every pipeline commits and goes on.

A pipeline that listens (tcp, http) says at which address, also where its spec leaves the port to the system (port 0). It is
idle when somebody was connected, nobody is any more, and everything is committed. One that reads the repo of another
pipeline of the same run is idle when that one has stopped.")]
pub(super) struct Run {
    /// Spec files, YAML or JSON, with one or more pipelines each.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Stop when every partition has ended, or has nothing for now.
    #[arg(long, value_enum, value_name = "WHEN")]
    until: Option<When>,
    /// Cut commits early when the process uses more memory than this.
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<ByteSize>,
    /// Start this handler empty, whatever state the last commit holds of it; may be given several times.
    #[arg(long, value_name = "HANDLER")]
    reset_node: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// Every partition has ended.
    Ended,
    /// Every partition has nothing for now.
    Idle,
}

impl Run {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let specs = load_all(&self.specs)?;
        let links = Links::between(&specs)?;
        let plugins = global.open_plugins()?;
        let mut pipelines = Vec::with_capacity(specs.len());
        for loaded in &specs {
            pipelines.push(Parts::build(loaded, &plugins, &links).await?.with_reset(&self.reset_node));
        }
        let store = Store::open(&global.store).await?;
        let options = RunOptions {
            until: match self.until {
                None => Until::Stopped,
                Some(When::Ended) => Until::Ended,
                Some(When::Idle) => Until::Idle,
            },
            json: printer.json(),
            memory_high: self.memory_high.map(|size| size.0),
        };
        let mut signals = Signals::new()?;
        let (host, mut updates) = Host::start(pipelines, &store, &options);
        // Tables that a consumer prints and a line that redraws itself would write over each other.
        let mut progress = Progress::new(printer.is_terminal() && !specs.iter().any(prints));
        let mut stopping = false;
        loop {
            tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => if let Err(closed) = progress.show(&update, clock::now(), printer) {
                        // Whoever watched has gone away: commit what was taken, as for Ctrl-C.
                        host.stop();
                        outcome(host, printer).await?;
                        return Err(closed);
                    },
                    None => break,
                },
                wish = signals.next() => match wish {
                    Wish::Commit => host.commit(),
                    Wish::Stop if stopping => return Err(Error::Interrupted.into()),
                    Wish::Stop => {
                        stopping = true;
                        tracing::info!("stopping: every pipeline commits what it has taken; once more stops at once");
                        host.stop();
                    }
                },
            }
        }
        outcome(host, printer).await
    }
}

/// Fails with the first error; the others were shown as they came.
async fn outcome(host: Host, printer: &Printer) -> Result<()> {
    let mut errors = host.join().await.into_iter();
    let Some(first) = errors.next() else { return Ok(()) };
    for other in errors {
        if let Some(report) = super::report::Report::of(&other.into()) {
            report.print(printer.json());
        }
    }
    Err(first.into())
}

fn prints(loaded: &Loaded) -> bool {
    loaded.spec.consumers.iter().any(|consumer| matches!(consumer, ConsumerSpec::Print(_)))
}

enum Wish {
    Stop,
    Commit,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|source| Error::Runtime { source });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Commit,
        }
    }
}
