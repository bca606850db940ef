//! What holds for every handler and every chain of them.

mod chains;
pub(in crate::node) mod cuts;
mod sequences;
