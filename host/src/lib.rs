//! The spout host: sandboxed plugins in, versioned commits out.
//!
//! Rooms, in the order in which they may import each other: `arithmetic`, `data`, `wire`, `plugin`, `producer`, `node`, `repo`,
//! `consumer`, `spec`, `pipeline`, `cli`. See ARCHITECTURE.md for what each may know.

pub mod arithmetic;
pub mod cli;
pub mod clock;
pub mod consumer;
pub mod data;
pub mod error;
pub mod fault;
pub mod node;
pub mod pipeline;
pub mod plugin;
pub mod producer;
pub mod repo;
pub mod secret;
pub mod spec;
pub mod telemetry;
pub mod terminal;
pub mod wire;
