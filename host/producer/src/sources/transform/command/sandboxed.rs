//! A command that is a plugin: it runs in the sandbox, and writes to an output that is never on a disk.

use async_trait::async_trait;
use spout_base::owner;
use spout_plugin::{Command, Output, Start, Task};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{GRACE, Invocation, Read, archiver::commit_archives, failed, is_cut, pfs::Pfs};
use crate::{
    Error,
    sources::transform::{Again, Failed, Spout, commits::Commits},
};

/// A plugin that is a command.
#[derive(Debug)]
pub(in crate::sources::transform) struct SandboxedCommand {
    task: Task,
    invocation: Invocation,
}

/// A command that ends with whoever waits for it.
struct Running(JoinHandle<Result<(), spout_plugin::Error>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SandboxedCommand {
    pub(in crate::sources::transform) fn new(task: Task, invocation: Invocation) -> Self {
        Self { task, invocation }
    }

    fn crashed(&self, source: spout_plugin::Error) -> Failed {
        let again = match &source {
            // A command has no other way to say that what it reads from is not there now.
            spout_plugin::Error::Exited { .. } => Again::Later(None),
            crash if crash.is_crash() => Again::Crashed,
            _ => Again::Never,
        };
        Failed { why: Error::Spout { spout: self.invocation.label.clone(), source: Box::new(source) }, again }
    }

    async fn start(&self, pfs: &Pfs) -> Result<(Running, mpsc::Receiver<Output>), Failed> {
        let Invocation { args, standard, .. } = self.invocation.clone();
        let (stdin, pfs) = (self.invocation.input().into(), pfs.path().to_owned());
        let opened = Command::open(self.task.clone(), Start { args, stdin, pfs, standard }).await;
        let (command, outputs) = opened.map_err(|error| self.crashed(error))?;
        Ok((Running(owner::spawn(command.run())), outputs))
    }
}

#[async_trait]
impl Spout for SandboxedCommand {
    async fn run(&self, commits: &Commits, drained: &CancellationToken) -> Result<(), Failed> {
        let pfs = Pfs::open(commits).await.map_err(failed)?;
        if !self.invocation.standard {
            pfs.stand_in().map_err(failed)?;
        }
        let (mut running, mut outputs) = self.start(&pfs).await?;
        let read = async {
            // One output after the other: each is read to its end before the next one.
            loop {
                let output = tokio::select! {
                    biased;
                    output = outputs.recv() => output,
                    () = drained.cancelled() => return Ok(Read::Stopped),
                };
                let Some(mut output) = output else { return Ok(Read::Over) };
                let read = commit_archives(&mut output, self.invocation.origin(), commits, &pfs, drained).await;
                if read.is_err() {
                    // Before this output breaks: who opens it again is refused too.
                    outputs.close();
                }
                if read? == Read::Stopped {
                    return Ok(Read::Stopped);
                }
            }
        };
        let read = read.await;
        if matches!(read, Ok(Read::Stopped)) {
            return Ok(());
        }
        // What it writes from here on meets a broken pipe.
        drop(outputs);
        match (timeout(GRACE, &mut running.0).await, read) {
            (_, Err(fault)) if !is_cut(&fault) => Err(failed(fault)),
            (Ok(Ok(Err(crash))), _) => Err(self.crashed(crash)),
            (_, Err(fault)) => Err(failed(fault)),
            (Ok(Ok(Ok(()))), Ok(_)) => Ok(()),
            (Ok(Err(error)), Ok(_)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(failed(Error::SpoutOver)),
            },
            (Err(_), Ok(_)) => Err(failed(Error::SpoutOver)),
        }
    }

    fn resting(&self) -> bool {
        // It may be about to write.
        false
    }
}
