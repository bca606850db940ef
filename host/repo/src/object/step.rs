//! The durable steps, each between two fail points.

/// Names the steps, and the fail points on both sides of each.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal),* $(,)?) => {
        /// A durable step of a commit, or of what keeps a store; fail points stand on both sides of each.
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// All of them, so that tests cannot forget one.
            pub(crate) const ALL: &[Self] = &[$(Self::$step),*];

            pub(crate) fn points(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$step => (concat!($name, ".before"), concat!($name, ".after")),)*
                }
            }
        }
    };
}

steps! {
    Create = "repo.create",
    Claim = "repo.claim",
    Data = "repo.data",
    State = "repo.state",
    Record = "repo.record",
    /// One part of a large object.
    Part = "repo.part",
    /// The parts of a large object become one.
    Complete = "repo.complete",
    /// The store is tried out before it is trusted.
    Probe = "repo.probe",
    /// The store says which version of the format it is of.
    Version = "repo.version",
    /// A run of the index.
    Segment = "repo.segment",
    /// A checkpoint of a branch.
    Checkpoint = "repo.checkpoint",
    /// Something that only saves time is written over.
    Hint = "repo.hint",
    /// A branch set to a commit, or deleted.
    Point = "repo.point",
    /// Commits hidden.
    Squash = "repo.squash",
    /// A version of a tag.
    Tag = "repo.tag",
    /// A part of a commit that was started.
    Started = "repo.started",
    /// A rule for what is kept.
    Retention = "repo.retention",
    /// Where a history begins from now on.
    Boundary = "repo.boundary",
    /// Small files out of records that go.
    Pack = "repo.pack",
    /// The list of what is about to be deleted.
    List = "repo.list",
    /// The record that says so.
    Sweep = "repo.sweep",
    /// An object goes.
    Delete = "repo.delete",
    /// A whole repo goes.
    Remove = "repo.remove",
    /// A piece comes to be in a Delta table.
    DeltaCopy = "delta.copy",
    /// A version of a Delta table.
    DeltaLog = "delta.log",
    DeltaCheckpoint = "delta.checkpoint",
    DeltaHint = "delta.hint",
}
