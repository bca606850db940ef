//! Runs a plugin over its author's own input, and checks what the host relies on.
//!
//! [`Trial`] is one use of a plugin in its sandbox; each of its calls tries one interface and says, as [`Finding`]s, which
//! promise holds and which breaks, with the smallest difference that was found. `spout_guest::testing::conformance` checks the
//! same of handlers natively, in the same words.
//!
//! [`uses`] are the parts of a plugin that can be tried so.
//!
//! A spout is tried as a spec runs it, by [`SpoutTrial`]: whole, and killed over and over, on stores in memory.
//!
//! **Invariant**: nothing is written but by a trusted program, and only what the author grants is reached.

mod acked;
mod decoder;
mod handler;
mod offers;
mod source;
mod spout;
mod stream;

pub use self::{
    offers::{MOST_TRIED, messages_of, settings_for, settings_of, uses},
    spout::SpoutTrial,
};

use std::{fmt::Display, sync::Arc};

use serde::Serialize;
use spout_data::{Messages, Position};
use spout_plugin::{GrantSpec, LimitsSpec, Metrics, Plugin, Quotas, Task};
use tokio_util::sync::CancellationToken;

/// Messages that are read of a partition or stream.
const MOST: usize = 2_000;
/// Characters of a payload, or of a row, that are shown.
const SHOWN: usize = 120;

/// A plugin, and how it is to be used.
#[derive(Debug)]
pub struct Trial {
    task: Task,
    /// The topic, as a spec would name it.
    pub topic: String,
}

/// A promise, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What is promised.
    pub promise: String,
    /// Whether it is kept.
    pub kept: bool,
    /// What was seen: a measure where it is kept, the smallest difference where it is not.
    pub seen: String,
}

/// A promise that holds, with what was seen, or the difference that breaks it.
type Verdict = Result<String, String>;

impl Finding {
    fn of(promise: impl Into<String>, verdict: Verdict) -> Self {
        let kept = verdict.is_ok();
        let (Ok(seen) | Err(seen)) = verdict;
        Self { promise: promise.into(), kept, seen }
    }
}

impl Trial {
    /// A use of what `plugin` offers by this name, with these settings and grants; the paths are absolute.
    #[must_use]
    pub fn new(plugin: Arc<Plugin>, offer: String, settings: Vec<(String, String)>, grants: GrantSpec) -> Self {
        let task = Task {
            pipeline: "trial".into(),
            plugin,
            offer,
            grants,
            exposed: None,
            limits: LimitsSpec::default(),
            quotas: Quotas::default(),
            settings,
            draining: CancellationToken::new(),
            metrics: Metrics::default(),
        };
        Self { task, topic: "trial".into() }
    }
}

/// `what` in at most as many characters as are shown.
fn shown(what: impl Display) -> String {
    let text = what.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A payload as text.
fn payload(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(4 * SHOWN)).unwrap_or_default();
    format!("`{}`", shown(String::from_utf8_lossy(head)))
}

/// One message of a source.
type Message = (u64, Vec<u8>);

/// The messages as pairs of offset and payload.
fn pairs(messages: &Messages) -> impl Iterator<Item = Message> + '_ {
    let payload = |at: usize| messages.values.get(at).to_vec();
    messages.offsets.iter().enumerate().map(move |(at, offset)| (*offset, payload(at)))
}

/// The first place at which `again` is not what `once` is.
fn differs(once: &[Message], again: &[Message]) -> Verdict {
    let at = once.iter().zip(again).take_while(|(one, other)| one == other).count();
    match (once.get(at), again.get(at)) {
        (None, None) => Ok(String::new()),
        (Some((offset, value)), None) => Err(format!("the message at offset {offset}, {}, is missing", payload(value))),
        (None, Some((offset, value))) => {
            Err(format!("a message at offset {offset}, {}, came in addition", payload(value)))
        }
        (Some((one, before)), Some((other, after))) => Err(format!(
            "first the message at offset {one} was {}, then the one at offset {other} {}",
            payload(before),
            payload(after)
        )),
    }
}

fn at(offset: u64) -> Position {
    Position::at(offset)
}
