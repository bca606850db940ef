//! Runs a plain `wasm32-wasip2` command, in any language: arguments, environment, standard input, and `/pfs`.
//!
//! Such a command knows nothing of this host. It reads what is in `/pfs`, a directory of the host's that it cannot change, and
//! what it writes to `/pfs/out`, or to its standard output, reaches the host as [`Output`]s while it runs.
//!
//! **Invariant**: what it writes is never on a disk, and never more than a few megabytes ahead of its reader.

mod imports;
mod output;
mod pipe;

use std::path::PathBuf;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use wasmtime_wasi::{FsPerms, I32Exit, p2::pipe::MemoryInputPipe};

use self::output::Standard;
pub use self::pipe::Output;
pub(crate) use self::{imports::link, output::Outputs};
use super::{Error, World, host::Held, instance::Instance, task::Task};

/// The name of the output in the directory that a command sees as `/pfs`.
pub const OUT: &str = "out";

/// How a command is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Its standard input.
    pub stdin: Bytes,
    /// What it sees as `/pfs`; an empty file [`OUT`] in it stands in the place of the output, unless that is `standard`.
    pub pfs: PathBuf,
    /// Whether archives come on standard output, and not through [`OUT`].
    pub standard: bool,
}

/// A command that is ready to run.
pub struct Command {
    task: Task,
    instance: Instance,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

impl Command {
    /// Instantiates the plugin, and where its outputs come, one after the other.
    ///
    /// # Errors
    /// That the plugin is no command, or how it failed.
    pub fn open(task: Task, start: Start) -> BoxFuture<'static, Result<(Self, mpsc::Receiver<Output>), Error>> {
        Box::pin(async move {
            if task.plugin.interfaces.command.is_none() {
                return Err(task.plugin.lacks(World::Command));
            }
            let (to, outputs) = mpsc::channel(1);
            let held = task.waiting("instantiate", move |task| held(task, start, to)).await?;
            let instance = Instance::open_with(&task, held).await?;
            Ok((Self { task, instance }, outputs))
        })
    }

    /// Runs it to its end. There is no limit on how long that takes, only on how long it computes without a call to the host;
    /// once the pipeline wants to stop, it has a second left.
    ///
    /// # Errors
    /// How it crashed, or the status that it exited with, if that is not 0.
    pub fn run(mut self) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let indices =
                self.task.plugin.interfaces.command.clone().ok_or_else(|| self.task.plugin.lacks(World::Command))?;
            let guest = self.instance.load(|store, linked| indices.load(store, linked))?;
            let leash = self.instance.begin_endless();
            let status = match leash.hold(guest.call_run(&mut self.instance.store)).await {
                Ok(Ok(Ok(()))) => 0,
                Ok(Ok(Err(()))) => 1,
                Ok(Err(error)) => match error.downcast_ref::<I32Exit>() {
                    Some(exit) => exit.0,
                    None => return self.instance.end("wasi:cli/run", Ok(Err(error))),
                },
                Err(overrun) => return self.instance.end("wasi:cli/run", Err(overrun)),
            };
            match status {
                0 => Ok(()),
                status => Err(Error::Exited { at: self.task.at("wasi:cli/run"), status }),
            }
        })
    }
}

/// The data of a command's store.
fn held(task: &Task, start: Start, to: mpsc::Sender<Output>) -> Result<Held, Error> {
    let failed = |reason: String| Error::Grant {
        plugin: task.plugin.name().to_owned(),
        name: "pfs".into(),
        path: start.pfs.clone(),
        reason,
    };
    let stand_in = (!start.standard).then(|| start.pfs.join(OUT));
    let outputs = Outputs::new(to.clone(), stand_in.as_deref()).map_err(|error| failed(error.to_string()))?;
    let mut held = Held::with(task, false, |wasi| {
        wasi.arg(task.plugin.name()).args(&start.args);
        wasi.stdin(MemoryInputPipe::new(start.stdin.clone()));
        wasi.preopened_dir(&start.pfs, "/pfs", FsPerms::ReadOnly).map_err(|error| failed(format!("{error:#}")))?;
        if start.standard {
            let (writer, output) = pipe::pipe();
            // There is room: it is the first.
            to.try_send(output).map_err(|_| Error::Closed)?;
            wasi.stdout(Standard(writer));
        }
        Ok(())
    })?;
    held.outputs = Some(outputs);
    Ok(held)
}
