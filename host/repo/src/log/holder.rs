//! Who writes a branch: shown to people so that they find the process. Nothing is decided by it but whether to ask them first.

use std::{fmt, fs, path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};

use super::record::Commit;

/// What the reason of a commit begins with that moves a marker while no pipeline runs.
pub(crate) const LEFT_BY_SEEK: &str = "seek";

/// Reasons of commits after which a writer stops; what follows a colon is a remark.
const LAST: [&str; 4] = ["ended", "idle", "shutdown", LEFT_BY_SEEK];

/// A process on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Name of the machine, or of the container.
    pub host: String,
    /// Its number there.
    pub id: u32,
}

impl Process {
    /// This one.
    #[must_use]
    pub fn own() -> Self {
        static HOST: OnceLock<String> = OnceLock::new();
        Self { host: HOST.get_or_init(host).clone(), id: std::process::id() }
    }

    /// Whether it certainly runs no more, as far as that can be seen from here.
    pub(crate) fn is_gone(&self) -> bool {
        let own = Self::own();
        let seen = |id: u32| Path::new(&format!("/proc/{id}")).exists();
        // Where we ourselves cannot be seen, nobody can.
        *self == own || (self.host == own.host && seen(own.id) && !seen(self.id))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.id, self.host)
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    match name.trim() {
        "" => "an unnamed machine".to_owned(),
        name => name.to_owned(),
    }
}

/// A writer whose work other processes share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its name among them, new with each start.
    pub id: String,
    /// Where they reach it, as `host:port`.
    pub address: String,
}

/// The writer that claimed a branch last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The writer.
    pub(crate) nonce: String,
    /// The process that it is in.
    pub process: Process,
    /// Who it is to the processes that share its work, if any do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
    /// When it wrote its newest record, by its own clock.
    pub seen_ms: i64,
    /// Its newest commit is one after which pipelines stop.
    pub(crate) left: bool,
}

impl Holder {
    /// Whether it has said that it is over, by its last commit.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// Whether it may still write, as far as anybody can know.
    #[must_use]
    pub fn may_write(&self) -> bool {
        !self.left && !self.process.is_gone()
    }

    /// Learns of a commit, maybe of somebody else.
    pub(crate) fn see(&mut self, commit: &Commit) {
        if commit.header.nonce == self.nonce {
            self.seen_ms = commit.header.at_ms;
            self.left = LAST.contains(&commit.reason.split(':').next().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_are_gone_are_known_where_that_can_be_seen() {
        let own = Process::own();
        assert!(!own.host.is_empty() && own.to_string().starts_with("process "), "{own}");
        let check = |process: &Process, gone: bool| assert_eq!(process.is_gone(), gone, "{process}");
        check(&own, true);
        check(&Process { host: "elsewhere".into(), id: 1 }, false);
        if Path::new("/proc/self").exists() {
            check(&Process { id: u32::MAX, ..own.clone() }, true);
            check(&Process { id: std::os::unix::process::parent_id(), ..own }, false);
        }
    }
}
