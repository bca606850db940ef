//! The durable steps, each between two fail points.

/// A durable step of a commit, or of what keeps a store; fail points stand on both sides of each.
#[derive(Clone, Copy, Debug)]
pub(in crate::repo) enum Step {
    Create,
    Claim,
    Data,
    State,
    Record,
    /// One part of a large object.
    Part,
    /// The parts of a large object become one.
    Complete,
    /// The store is tried out before it is trusted.
    Probe,
    /// An object goes.
    Delete,
    /// Something that only saves time is written over.
    Hint,
}

impl Step {
    pub(super) fn points(self) -> (&'static str, &'static str) {
        match self {
            Self::Create => ("repo.create.before", "repo.create.after"),
            Self::Claim => ("repo.claim.before", "repo.claim.after"),
            Self::Data => ("repo.data.before", "repo.data.after"),
            Self::State => ("repo.state.before", "repo.state.after"),
            Self::Record => ("repo.record.before", "repo.record.after"),
            Self::Part => ("repo.part.before", "repo.part.after"),
            Self::Complete => ("repo.complete.before", "repo.complete.after"),
            Self::Probe => ("repo.probe.before", "repo.probe.after"),
            Self::Delete => ("repo.delete.before", "repo.delete.after"),
            Self::Hint => ("repo.hint.before", "repo.hint.after"),
        }
    }
}
