//! How messages enter and become batches.

mod decoder_spec;
mod stream_spec;

pub use decoder_spec::{DecoderSpec, JsonSpec, NativeDecoder, PluginDecoder, UnknownFields};
pub use stream_spec::{ConsumerType, FetchSpec, MetadataColumn, OutOfRange, Start, StreamSpec};
