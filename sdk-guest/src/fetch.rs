//! Positions and the limits of a fetch, and what it returns.

use crate::{Messages, wit::base::spout::plugin::types as wit};

/// The place of the next message of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The host orders and commits by it; grows within a partition.
    pub offset: u64,
    /// Anything else the source needs to find the place again; the host stores it unread.
    pub token: Option<Vec<u8>>,
}

impl Position {
    /// A position without a token.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self { offset, token: None }
    }
}

impl From<wit::Position> for Position {
    fn from(position: wit::Position) -> Self {
        Self { offset: position.offset, token: position.token }
    }
}

impl From<Position> for wit::Position {
    fn from(position: Position) -> Self {
        Self { offset: position.offset, token: position.token }
    }
}

/// How much one fetch may return, and how long it may wait for the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most messages.
    pub messages: usize,
    /// Most payload bytes.
    pub bytes: usize,
    /// Longest wait.
    pub timeout: std::time::Duration,
}

impl From<wit::FetchLimits> for Limits {
    fn from(limits: wit::FetchLimits) -> Self {
        Self {
            messages: limits.max_messages as usize,
            bytes: limits.max_bytes as usize,
            timeout: std::time::Duration::from_millis(u64::from(limits.timeout_ms)),
        }
    }
}

/// Whether to fetch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more.
    More,
    /// Nothing for now.
    Idle,
    /// Nothing more, ever.
    Ended,
}

impl From<Progress> for wit::Progress {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::More => Self::More,
            Progress::Idle => Self::Idle,
            Progress::Ended => Self::Ended,
        }
    }
}

/// The result of one fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The messages, each with its offset.
    pub messages: Messages,
    /// Where the next fetch starts; advances even when nothing was returned.
    pub next: Position,
    /// Offset after the newest message, if known.
    pub high_watermark: Option<u64>,
    /// Whether to fetch again.
    pub progress: Progress,
}
