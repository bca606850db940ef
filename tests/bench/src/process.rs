//! What a process takes, read from outside.

use std::{fs, process::Child, time::Duration};

/// What a process took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Seconds.
    pub(crate) cpu: f64,
    pub(crate) peak_mib: u64,
    pub(crate) resident_mib: u64,
    pub(crate) threads: u64,
}

impl Seen {
    /// Looks at `child` again; keeps what was seen last once it has ended.
    pub(crate) fn look(&mut self, child: &Child) {
        let proc = format!("/proc/{}", child.id());
        let stat = fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
        self.cpu = cpu(&stat).unwrap_or(self.cpu);
        let status = fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let number = |name: &str| number(&status, name);
        self.peak_mib = self.peak_mib.max(number("VmHWM:").unwrap_or(0) / 1024);
        self.resident_mib = number("VmRSS:").map_or(self.resident_mib, |kib| kib / 1024);
        self.threads = self.threads.max(number("Threads:").unwrap_or(0));
    }
}

/// What `name` says of this process, `RssAnon:` for one, in MiB; 0 where the kernel does not tell.
pub(crate) fn own_mib(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number(&status, name).unwrap_or(0) as f64 / 1024.0
}

/// Seconds in user mode and in the kernel, from `/proc/…/stat`.
fn cpu(stat: &str) -> Option<f64> {
    let fields = stat.rsplit(')').next()?;
    let ticks: Vec<f64> = fields.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // Fields 14 and 15 of the line; the first one after the name is field 3, a letter that does not parse.
    Some((ticks.get(10)? + ticks.get(11)?) / 100.0)
}

fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()
}

/// Looks at `child` until it ends.
pub(crate) fn watch(child: &mut Child) -> Seen {
    let mut seen = Seen::default();
    while matches!(child.try_wait(), Ok(None)) {
        seen.look(child);
        std::thread::sleep(Duration::from_millis(5));
    }
    seen
}

/// The seconds that the children which have ended had of processors, to a hundredth, and their page faults.
pub(crate) fn children() -> (f64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let at = |field: usize| fields.split_whitespace().nth(field - 3).and_then(|word| word.parse::<u64>().ok());
    let seconds = (at(16).unwrap_or(0) + at(17).unwrap_or(0)) as f64 / 100.0;
    (seconds, at(11).unwrap_or(0))
}

/// The seconds that this process has had of processors, to a hundredth.
pub(crate) fn own_cpu() -> f64 {
    cpu(&fs::read_to_string("/proc/self/stat").unwrap_or_default()).unwrap_or(0.0)
}

/// The time that the threads of this process have had of processors.
pub(crate) fn own_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let time = threads.filter_map(|thread| {
        let spent = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        spent.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(time.sum())
}
