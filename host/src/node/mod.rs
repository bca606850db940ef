//! Batches in, batches out: the chain of handlers.

pub mod handlers;
mod plugin;
mod spec;

pub use plugin::PluginSpec;
pub use spec::NodeSpec;
