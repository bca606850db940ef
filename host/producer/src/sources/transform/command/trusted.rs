//! A command that is a program of this machine, which the spec trusts: it is not sandboxed.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};
use tokio_util::sync::CancellationToken;

use super::{
    GRACE, Invocation,
    archiver::commit_archives,
    failed,
    fifo::Fifo,
    group::Group,
    pfs::{COMMIT, Pfs},
};
use crate::{
    Error,
    sources::transform::{Again, Failed, Spout, commits::Commits},
};

/// What a program has to end by itself when the pipeline wants to stop.
const LAST: Duration = Duration::from_secs(3);

/// Longest line of a program in the log.
const LINE: usize = 4096;

/// A program with what its spec says.
#[derive(Debug)]
pub(in crate::sources::transform) struct TrustedCommand {
    pipeline: String,
    program: String,
    /// The spec's own directory, in which it runs.
    base: PathBuf,
    invocation: Invocation,
}

impl TrustedCommand {
    pub(in crate::sources::transform) fn new(
        pipeline: &str,
        program: &str,
        base: &Path,
        invocation: Invocation,
    ) -> Self {
        Self { pipeline: pipeline.to_owned(), program: program.to_owned(), base: base.to_owned(), invocation }
    }

    fn command(&self, pfs: &Pfs) -> Command {
        // A path starts at the spec's directory, a name is looked for on PATH.
        let program =
            if self.program.contains('/') { self.base.join(&self.program) } else { PathBuf::from(&self.program) };
        let mut command = Command::new(program);
        command.args(&self.invocation.args).current_dir(if self.base.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.base
        });
        command.env("PFS", pfs.path()).env("PFS_OUT", pfs.out()).env("PFS_COMMIT", pfs.path().join(COMMIT));
        if let Some(marker) = pfs.marker() {
            command.env("PFS_MARKER", marker);
        }
        if let Some(path) = with_ourselves() {
            command.env("PATH", path);
        }
        command.envs(self.invocation.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Passes on what it reads and says until it has ended.
    fn attend(&self, group: &mut Group) -> Option<tokio::process::ChildStdout> {
        if let Some(mut stdin) = group.program.stdin.take() {
            let input = self.invocation.input();
            // It may have closed its input.
            tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
        }
        if let Some(stderr) = group.program.stderr.take() {
            tokio::spawn(log(stderr, self.pipeline.clone(), self.program.clone()));
        }
        let stdout = group.program.stdout.take()?;
        if self.invocation.standard {
            return Some(stdout);
        }
        tokio::spawn(log(stdout, self.pipeline.clone(), self.program.clone()));
        None
    }

    /// Reads all that it writes until `ended`.
    async fn read(
        &self,
        mut fifo: Fifo,
        stdout: Option<tokio::process::ChildStdout>,
        (commits, pfs): (&Commits, &Pfs),
        ended: &CancellationToken,
    ) -> Result<(), Error> {
        // A program is asked to end when the pipeline wants to stop, and finishes its archive: nothing is left out here.
        let never = CancellationToken::new();
        if let Some(stdout) = stdout {
            return commit_archives(stdout, self.invocation.origin(), commits, pfs, &never).await.map(drop);
        }
        loop {
            let last = ended.is_cancelled();
            let failed = |source| Error::Pfs { path: pfs.out(), source };
            let stream = fifo.stream(ended.cancelled()).await.map_err(failed)?;
            commit_archives(stream, "PFS_OUT", commits, pfs, &never).await?;
            if last {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Spout for TrustedCommand {
    async fn run(&self, commits: &Commits, drained: &CancellationToken) -> Result<(), Failed> {
        let pfs = Pfs::open(commits).await.map_err(failed)?;
        let fifo = Fifo::make(&pfs.out()).map_err(|source| failed(Error::Pfs { path: pfs.out(), source }))?;
        let mut group = Group::start(&mut self.command(&pfs)).map_err(|source| {
            let why = Error::Launch { command: self.invocation.label.clone(), source };
            Failed { why, again: Again::Never }
        })?;
        let stdout = self.attend(&mut group);
        let ended = CancellationToken::new();
        let (mut status, mut read) = (None, None);
        {
            let reading = self.read(fifo, stdout, (commits, &pfs), &ended);
            tokio::pin!(reading);
            tokio::select! {
                over = group.program.wait() => status = Some(over),
                over = &mut reading => read = Some(over),
                () = drained.cancelled() => {
                    // While it ends, what it writes is read.
                    tokio::select! {
                        () = group.stop(LAST) => {}
                        over = &mut reading => read = Some(over),
                    }
                }
            }
            if status.is_none() {
                status = tokio::time::timeout(GRACE, group.program.wait()).await.ok();
            }
            // Children that it left behind could go on writing for ever.
            group.kill().await;
            ended.cancel();
            if read.is_none() {
                read = Some(reading.await);
            }
        }
        match (status, read) {
            (Some(Ok(status)), _) if !status.success() => {
                let why = Error::Ended { command: self.invocation.label.clone(), how: status.to_string() };
                Err(Failed { why, again: Again::Later(None) })
            }
            (_, Some(Err(fault))) => Err(failed(fault)),
            (Some(Ok(_)), _) => Ok(()),
            (Some(Err(source)), _) => Err(failed(Error::Launch { command: self.invocation.label.clone(), source })),
            (None, _) => {
                let how = "no answer to the request to end".to_owned();
                Err(failed(Error::Ended { command: self.invocation.label.clone(), how }))
            }
        }
    }

    fn resting(&self) -> bool {
        // It may be about to write.
        false
    }
}

/// PATH with the directory of this program in front, so that `spout` is found.
fn with_ourselves() -> Option<OsString> {
    let own = env::current_exe().ok()?.parent()?.to_owned();
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(own).chain(env::split_paths(&others))).ok()
}

/// Writes what a program says into the log, line by line.
async fn log(from: impl AsyncRead + Unpin, pipeline: String, program: String) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(byte) = from.read_u8().await {
        if byte != b'\n' {
            line.push(byte);
        }
        if byte == b'\n' || line.len() >= LINE {
            say(&std::mem::take(&mut line), &pipeline, &program);
        }
    }
    say(&line, &pipeline, &program);
}

fn say(line: &[u8], pipeline: &str, program: &str) {
    if !line.is_empty() {
        let line = String::from_utf8_lossy(line);
        tracing::info!(pipeline, command = program, "{}", spout_base::terminal::plain(&line));
    }
}
