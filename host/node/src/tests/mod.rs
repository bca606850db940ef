//! What holds for every handler and every chain of them.

mod chains;
pub(crate) mod cuts;
mod sequences;
