//! A program of this machine with everything that it starts, none of which outlives the host.
//!
//! All of it is one process group. Its leader is a shell that does nothing but wait for the end of a pipe, whose other end the
//! host has: when the host is gone, killed or not, the pipe ends, and the shell kills the group.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, ChildStdin, Command},
    time::timeout,
};

/// Waits for the end of its input, and then kills its group.
const GUARD: &str = "trap '' HUP INT TERM; read -r _; kill -KILL 0";

/// The number of the signal that asks a program to end.
pub(super) const TERM: i32 = Signal::TERM.as_raw();

#[derive(Debug)]
pub(super) struct Group {
    id: Pid,
    guard: Child,
    _alive: Option<ChildStdin>,
    pub(super) program: Child,
}

impl Group {
    /// Starts `program`.
    pub(super) fn start(program: &mut Command) -> io::Result<Self> {
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .current_dir(Path::new("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let alive = guard.stdin.take();
        let gone = || io::Error::other("the guard of the program ended at once");
        let number = guard.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(gone)?;
        let id = Pid::from_raw(number).ok_or_else(gone)?;
        // If this fails, the guard's pipe ends with it.
        let program = program.process_group(number).spawn()?;
        Ok(Self { id, guard, _alive: alive, program })
    }

    /// Asks it to end, and waits so long for the program to do so; how it ended, if it did.
    pub(super) async fn stop(&mut self, grace: Duration) -> Option<io::Result<ExitStatus>> {
        self.signal(Signal::TERM);
        timeout(grace, self.program.wait()).await.ok()
    }

    /// Kills all that is left of it, and waits for that.
    pub(super) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        let (program, guard) = tokio::join!(self.program.wait(), self.guard.wait());
        drop((program, guard));
    }

    fn signal(&self, signal: Signal) {
        // The guard is waited for only after the last signal, so that the number is still that of this group.
        if let Err(error) = kill_process_group(self.id, signal) {
            tracing::debug!(%error, "the program's process group is gone");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.guard.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

// It asks /proc who is alive.
#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use spout_base::clock;

    use super::*;

    fn alive(pid: &str) -> bool {
        // A process that nobody has waited for yet is still in the table, as a zombie.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn gone(pid: &str) {
        let begun = clock::now();
        while alive(pid) {
            assert!(begun.elapsed() < Duration::from_secs(10), "process {pid} is still there");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_it() {
        for how in ["kill", "drop", "the host's end"] {
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join("child");
            let mut program = Command::new("/bin/sh");
            program.arg("-c").arg("trap '' TERM; sleep 600 & echo $! > child.new; mv child.new child; wait");
            let mut group = Group::start(program.current_dir(place.path())).unwrap();
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let child = std::fs::read_to_string(file).unwrap().trim().to_owned();
            assert!(alive(&child));
            match how {
                "kill" => group.kill().await,
                "drop" => drop(group),
                _ => {
                    group._alive = None;
                    gone(&child).await;
                }
            }
            gone(&child).await;
        }
    }
}
