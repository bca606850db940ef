//! What a branch ends with.

use std::sync::LazyLock;

use spout_data::Marker;

use super::{holder::Holder, record::Commit};

/// The marker of a branch without commits.
static NONE: LazyLock<Marker> = LazyLock::new(Marker::default);

/// What a branch ends with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// Sequence of the newest record of any kind; 0 for an empty branch.
    pub(crate) sequence: u64,
    /// Epoch of the newest record.
    pub(crate) epoch: u64,
    /// Checksum of the newest record.
    pub(crate) checksum: String,
    /// The writer that claimed the branch last.
    pub(crate) holder: Option<Holder>,
    /// The newest commit, without inline bytes.
    pub(crate) commit: Option<Commit>,
}

impl Head {
    /// Where each partition goes on.
    pub(crate) fn marker(&self) -> &Marker {
        self.commit.as_ref().map_or(&NONE, |commit| &commit.marker)
    }
}
