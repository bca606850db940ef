//! What keeps a store small and sound: collection by rules, compaction, a check of everything, and upgrades of its format.

mod collect;
mod compact;
mod fsck;
mod leftovers;
mod merging;
mod reach;
mod retention;
pub(crate) mod upgrade;

pub use compact::{Compacted, TARGET};
pub use fsck::{Depth, Finding, ReadDone, ReadPart, ReadsParts, Report, Severity, fsck, fsck_by, repair, repair_by};
pub use merging::{MergePart, MergesParts};
pub use retention::Retention;
pub use upgrade::{UpgradeStep, Upgraded, upgrade};
