//! What keeps a store small and sound: collection by rules, compaction, and a check of everything.

mod collect;
mod compact;
mod fsck;
mod leftovers;
mod reach;
mod retention;

pub use compact::{Compacted, TARGET};
pub use fsck::{Depth, Finding, Report, Severity, fsck, repair};
pub use retention::Retention;
