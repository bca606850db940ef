//! A command that is a program of this machine, which the spec trusts: it is not sandboxed.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use spout_base::panicked::go_on;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdout, Command},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    GRACE, Invocation,
    archiver::commit_archives,
    failed,
    fifo::Fifo,
    group::{Group, TERM},
    is_cut,
    pfs::{COMMIT, Pfs},
};
use crate::{
    Error, Pass, StoreAccess,
    sources::transform::{Again, Failed, Spout, commits::Commits},
};

/// What a program has to end by itself when the pipeline wants to stop.
const LAST: Duration = Duration::from_secs(3);

/// What it takes at most to commit what a program has written when it is gone.
const REST: Duration = Duration::from_secs(60);

/// How long its last words are waited for once it is gone: they are there, unless somebody else has the pipe.
const WORDS: Duration = Duration::from_millis(200);

/// Longest line of a program in the log.
const LINE: usize = 4096;

/// Where a program runs.
#[derive(Clone, Debug)]
pub(in crate::sources::transform) struct Place {
    pub(in crate::sources::transform) pipeline: String,
    /// The spec's own directory, in which it runs.
    pub(in crate::sources::transform) base: PathBuf,
    /// The branch that its pipeline writes.
    pub(in crate::sources::transform) branch: String,
    pub(in crate::sources::transform) access: Option<Arc<dyn StoreAccess>>,
}

/// A program with what its spec says.
#[derive(Debug)]
pub(in crate::sources::transform) struct TrustedCommand {
    place: Place,
    program: String,
    invocation: Invocation,
}

impl TrustedCommand {
    pub(in crate::sources::transform) fn new(place: Place, program: &str, invocation: Invocation) -> Self {
        tracing::warn!(
            pipeline = place.pipeline,
            command = program,
            "the command is not sandboxed: it can do whatever this process can"
        );
        Self { place, program: program.to_owned(), invocation }
    }

    fn command(&self, pfs: &Pfs, pass: Option<&Pass>) -> Command {
        let Place { base, pipeline, branch, .. } = &self.place;
        // A path starts at the spec's directory, a name is looked for on PATH.
        let program = if self.program.contains('/') { base.join(&self.program) } else { PathBuf::from(&self.program) };
        let mut command = Command::new(program);
        let dir = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        command.args(&self.invocation.args).current_dir(dir).env("PFS_REPO", format!("{pipeline}@{branch}"));
        if let Some(pass) = pass {
            command.env("SPOUT_SERVER", &pass.server).env("SPOUT_TOKEN", pass.token.reveal());
        }
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

    /// Passes on what it reads and says until it has ended: by these tasks, and by what reads its output if there is an archive in it.
    fn attend(&self, group: &mut Group) -> (JoinSet<()>, Option<ChildStdout>) {
        let mut tasks = JoinSet::new();
        if let Some(mut stdin) = group.program.stdin.take() {
            let input = self.invocation.input();
            // It may have closed its input.
            tasks.spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
        }
        if let Some(stderr) = group.program.stderr.take() {
            tasks.spawn(log(stderr, self.place.pipeline.clone(), self.program.clone()));
        }
        let stdout = group.program.stdout.take();
        if self.invocation.standard {
            return (tasks, stdout);
        }
        if let Some(stdout) = stdout {
            tasks.spawn(log(stdout, self.place.pipeline.clone(), self.program.clone()));
        }
        (tasks, None)
    }

    /// Reads what the program writes until it has ended, or its archives are refused, or it was asked to end and has had its
    /// time; nothing is left of it then. How it ended, if it did so by itself, and how reading did.
    async fn attend_to_its_end(
        &self,
        group: &mut Group,
        fifo: Fifo,
        (mut tasks, stdout): (JoinSet<()>, Option<ChildStdout>),
        place: (&Commits, &Pfs),
        drained: &CancellationToken,
    ) -> (Option<io::Result<ExitStatus>>, Result<(), Error>) {
        let ended = CancellationToken::new();
        let reading = self.read(fifo, stdout, place, &ended);
        tokio::pin!(reading);
        let (mut status, mut read) = (None, None);
        while status.is_none() && !matches!(read, Some(Err(_))) {
            tokio::select! {
                over = group.program.wait() => status = Some(over),
                over = &mut reading, if read.is_none() => read = Some(over),
                // A panic goes on here, where the pipeline is watched.
                Some(ended) = tasks.join_next() => go_on(ended),
                () = drained.cancelled() => break,
            }
        }
        if status.is_none() {
            // While it ends, what it writes is read.
            let stop = group.stop(if drained.is_cancelled() { LAST } else { GRACE });
            tokio::pin!(stop);
            loop {
                tokio::select! {
                    over = &mut stop => break status = over,
                    over = &mut reading, if read.is_none() => read = Some(over),
                    Some(ended) = tasks.join_next() => go_on(ended),
                }
            }
        }
        // Children that it left behind could go on writing for ever.
        group.kill().await;
        // What it said last is passed on, unless somebody outside of its group still has the pipe.
        drop(tokio::time::timeout(WORDS, to_their_end(&mut tasks)).await);
        tasks.detach_all();
        ended.cancel();
        let read = match read {
            Some(read) => read,
            None => tokio::time::timeout(REST, reading).await.unwrap_or_else(|_| {
                let how = "a process that has left its group and still has the output open".to_owned();
                Err(Error::Ended { command: self.invocation.label.clone(), how })
            }),
        };
        (status, read)
    }

    /// Reads all that it writes until `ended`.
    async fn read(
        &self,
        mut fifo: Fifo,
        stdout: Option<ChildStdout>,
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
        let pass = match &self.place.access {
            Some(access) => Some(access.grant(&self.place.pipeline).await.map_err(|source| {
                let why = Error::Access { command: self.invocation.label.clone(), source };
                Failed { why, again: Again::Later(None) }
            })?),
            None => None,
        };
        let mut group = Group::start(&mut self.command(&pfs, pass.as_ref())).map_err(|source| {
            let why = Error::Launch { command: self.invocation.label.clone(), source };
            Failed { why, again: Again::Never }
        })?;
        let attended = self.attend(&mut group);
        let over = self.attend_to_its_end(&mut group, fifo, attended, (commits, &pfs), drained).await;
        if drained.is_cancelled() {
            // It was asked to end: what it had not finished is left to the next run.
            return Ok(());
        }
        match over {
            (_, Err(fault)) if !is_cut(&fault) => Err(failed(fault)),
            // Unless that was because it was asked to.
            (Some(Ok(status)), _) if !status.success() && status.signal() != Some(TERM) => {
                let why = Error::Ended { command: self.invocation.label.clone(), how: status.to_string() };
                Err(Failed { why, again: Again::Later(None) })
            }
            (_, Err(fault)) => Err(failed(fault)),
            (Some(Err(source)), Ok(())) => {
                Err(failed(Error::Launch { command: self.invocation.label.clone(), source }))
            }
            (_, Ok(())) => Ok(()),
        }
    }

    fn resting(&self) -> bool {
        // It may be about to write.
        false
    }
}

/// Waits for tasks that pass on what a program reads and says. A panic goes on here, where the pipeline is watched.
async fn to_their_end(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        go_on(ended);
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

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use spout_base::panicked::caught;
    use tokio::io::ReadBuf;

    use super::*;

    /// Output of a program that the log task fails at.
    struct Poison(bool);

    impl AsyncRead for Poison {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            assert!(!self.0, "a bug in the log");
            self.0 = true;
            into.put_slice(b"a line\nand");
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_panic_in_what_passes_on_the_words_of_a_program_goes_on_where_it_is_watched() {
        let mut tasks = JoinSet::new();
        tasks.spawn(log(&b"fine\n"[..], "pipeline".into(), "program".into()));
        assert_eq!(caught(to_their_end(&mut tasks)).await, Ok(()));
        tasks.spawn(log(Poison(false), "pipeline".into(), "program".into()));
        let panicked = caught(to_their_end(&mut tasks)).await.unwrap_err();
        assert_eq!(panicked.to_string(), "a bug in the log");
    }
}
