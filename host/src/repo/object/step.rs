//! The durable steps, each between two fail points.

/// Names the steps, and the fail points on both sides of each.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal),* $(,)?) => {
        /// A durable step of a commit, or of what keeps a store; fail points stand on both sides of each.
        #[derive(Clone, Copy, Debug)]
        pub(in crate::repo) enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            pub(super) fn points(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$step => (concat!("repo.", $name, ".before"), concat!("repo.", $name, ".after")),)*
                }
            }
        }
    };
}

steps! {
    Create = "create",
    Claim = "claim",
    Data = "data",
    State = "state",
    Record = "record",
    /// One part of a large object.
    Part = "part",
    /// The parts of a large object become one.
    Complete = "complete",
    /// The store is tried out before it is trusted.
    Probe = "probe",
    /// A run of the index.
    Segment = "segment",
    /// A checkpoint of a branch.
    Checkpoint = "checkpoint",
    /// Something that only saves time is written over.
    Hint = "hint",
    /// A branch set to a commit, or deleted.
    Point = "point",
    /// Commits hidden.
    Squash = "squash",
    /// A version of a tag.
    Tag = "tag",
    /// A part of a commit that was started.
    Started = "started",
    /// A rule for what is kept.
    Retention = "retention",
    /// Where a history begins from now on.
    Boundary = "boundary",
    /// Small files out of records that go.
    Pack = "pack",
    /// The list of what is about to be deleted.
    List = "list",
    /// The record that says so.
    Sweep = "sweep",
    /// An object goes.
    Delete = "delete",
    /// A whole repo goes.
    Remove = "remove",
}
