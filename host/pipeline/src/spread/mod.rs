//! A pipeline whose partitions are read by several processes: the one that claimed the branch leads, gives out tasks, and alone
//! commits.

mod fleet;

pub use self::fleet::{Fleet, Job, Lost, Member, Said, Task, Works};
