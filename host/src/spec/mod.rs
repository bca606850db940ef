//! What users write: pipeline specs, composed from each component's own spec.

mod pipeline;

pub use pipeline::{
    CommitSpec, ErrorsSpec, FlushSpec, Guarantee, NameSpec, OnError, PipelineSpec, ProducerSpec, SpoutSpec,
};
