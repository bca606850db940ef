//! Between the interface's shapes and ours: `lower` towards the guest, `raise` from it, and what is raised is checked.
//!
//! **Invariant**: no array is built here without full validation, and nothing is allocated by a length that a guest named.

#[cfg(test)]
mod fuzz;
pub(super) mod messages;
pub(super) mod parts;
pub(super) mod schema;
