//! What every room stands on: error kinds and codes, time and dice, secrets, what a spec may reach, near names, numbers for
//! people, bytes that lie in files, directories that go with their process, where processes of one user meet, panics of tasks and the pipeline that they work for, spans of what they do, figures, and which untrusted text may reach a
//! terminal.
//!
//! **Invariant**: nothing here knows a stream, a plugin or a repo.

pub mod bounded;
pub mod clock;
pub mod counted;
pub mod error;
pub mod figures;
pub mod near;
pub mod owner;
pub mod panicked;
pub mod reach;
pub mod rendezvous;
pub mod scratch;
pub mod secret;
pub mod spill;
pub mod terminal;
pub mod trace;
