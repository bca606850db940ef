//! A spout that is a command: what it writes is a sequence of tar archives, and each complete one is a commit.
//!
//! [`Pfs`](pfs::Pfs) is the directory that it sees, with the marker of the last commit and the place to write to;
//! [`commit_archives`](archiver::commit_archives) makes commits of what it writes. A command is a plugin that knows nothing of
//! this host ([`SandboxedCommand`](sandboxed::SandboxedCommand)), or a program of this machine that the spec trusts
//! ([`TrustedCommand`](trusted::TrustedCommand)).
//!
//! **Invariant**: the files of an archive and its marker are one commit, and of an archive that is not complete there is none.

mod archiver;
mod fifo;
mod group;
mod pfs;
mod sandboxed;
mod trusted;

use std::time::Duration;

use spout_archive::Fault;
use spout_plugin::OUT;

use super::{Again, Failed};
use crate::{Error, source::Output};

pub(super) use self::{
    sandboxed::SandboxedCommand,
    trusted::{Place, TrustedCommand},
};

/// What a command has left to end by itself, when its archive is refused or the pipeline wants to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How a command is started, whatever it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Invocation {
    /// What it is called in errors and in the log.
    pub(super) label: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) stdin: Vec<String>,
    /// Whether its archives come on standard output, and not through the output of its [`Pfs`](pfs::Pfs).
    pub(super) standard: bool,
}

impl Invocation {
    /// What it reads on standard input: the lines of the spec, each with its end.
    fn input(&self) -> String {
        self.stdin.iter().map(|line| format!("{line}\n")).collect()
    }

    fn origin(&self) -> &'static str {
        if self.standard { "standard output" } else { "/pfs/out" }
    }
}

/// Refuses a marker that would stand where something else of a command's directory does.
pub(super) fn check_marker(output: &Output) -> Result<(), Error> {
    let marker = output.marker.as_deref().map(|marker| marker.trim_matches('/'));
    let first = marker.and_then(|marker| marker.split('/').next());
    match first.filter(|first| [OUT, pfs::COMMIT, pfs::NEW].contains(first)) {
        None => Ok(()),
        Some(taken) => {
            let reason =
                format!("`spout.marker` is {taken}, which a command sees as something else; choose another name");
            Err(Error::Transform { reason })
        }
    }
}

/// How what a command wrote came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// There is nothing more.
    Over,
    /// The pipeline wants to stop, and no archive was under way.
    Stopped,
}

/// Whether that an archive is cut off is all that is wrong: then how the command ended says why.
fn is_cut(fault: &Error) -> bool {
    matches!(fault, Error::Archive { source } if matches!(source.fault, Fault::Cut))
}

/// What to do about an error that came of a command's archives.
fn failed(why: Error) -> Failed {
    let again = match &why {
        Error::Archive { source } if matches!(source.fault, Fault::Unread(_)) => Again::Later(None),
        Error::SpoutOver => Again::Never,
        other => match spout_base::error::Coded::kind(other) {
            spout_base::error::Kind::Unavailable => Again::Later(None),
            _ => Again::Crashed,
        },
    };
    Failed { why, again }
}
