//! The time that this process has had of processors.

use std::time::Instant;

use crate::Took;

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    at: Instant,
    cpu: f64,
}

impl Begun {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), cpu: seconds() }
    }

    /// What reading took since then.
    pub(crate) fn took(self, messages: u64, bytes: u64) -> Took {
        Took { messages, bytes, wall: self.at.elapsed().as_secs_f64(), cpu: seconds() - self.cpu }
    }
}

/// In user mode and in the kernel, to a hundredth.
fn seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // Fields 14 and 15; the first one after the name is the third.
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
