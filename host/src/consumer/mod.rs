//! How batches leave the node.

mod file;
mod print;
mod spec;

pub use file::FileSpec;
pub use print::PrintSpec;
pub use spec::ConsumerSpec;
