//! What users write: pipeline specs, composed from each component's own spec.
//!
//! [`load_all`] reads files into [`Loaded`] specs: the text becomes a tree that knows its lines, is fitted to the JSON
//! schema made of the structs ([`spec_schema`]), and then deserialized into [`PipelineSpec`]. Pinot's `streamConfigs`
//! is translated on the way, and what can be said without running anything is checked. Every [`Error`] has a line.
//!
//! ```
//! use std::path::Path;
//! let text = spout_spec::EXAMPLE;
//! let loaded = spout_spec::parse(text, Path::new("example.yaml"), Path::new(".")).unwrap();
//! assert_eq!(loaded[0].spec.pipeline.name, "github-events");
//! ```
//!
//! **Invariant**: nothing here opens a plugin, a repo or a socket; the same text always gives the same answer.

mod check;
mod csv;
mod decoder;
mod document;
mod error;
mod evolve;
mod example;
pub mod foreign;
#[cfg(test)]
mod fuzz;
mod keyword;
mod load;
mod near;
mod pinot_words;
mod pipeline;
mod plugins;
mod producers;
mod reach;
mod replaying;
mod schema;
mod settings;
mod settings_schema;
mod shape;
mod shown;
mod stream_configs;
mod test_spec;
#[cfg(test)]
mod tests;

pub use check::{all_handlers, together};
pub use document::MAX_BYTES;
pub use error::{Error, Place};
pub use example::EXAMPLE;
pub use load::{Loaded, documents, load, load_all, load_every, parse, parse_every, parse_within};
pub use near::{advice, nearest};
pub use pipeline::{
    ClusterSpec, CommitSpec, ErrorsSpec, FlushSpec, NameSpec, OnError, PipelineSpec, Publish, SpoutSpec,
};
pub use plugins::{PluginUse, plugins};
pub use reach::{reaches, reads};
pub use schema::spec_schema;
pub use settings::check_settings;
pub use settings_schema::{SchemaError, SettingsSchema};
pub use shown::{shown, without_userinfo};
pub use spout_producer::ProducerSpec;
pub use test_spec::{FaultSpec, LateSpec, Row, StepSpec, TestSpec, TestTable, digits};
