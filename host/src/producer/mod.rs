//! How messages enter and become batches.
//!
//! [`Discovery`] says which partitions there are and where each starts, a [`Fetcher`] brings the messages of one
//! partition (or of the whole stream) with the [`Span`](crate::data::Span) they cover, a [`Decoder`] makes rows of them.
//!
//! ```text
//! Discovery::partitions ─► Fetcher::fetch ─► Fetched{messages, span} ─► Decoder::decode ─► Batch
//! ```
//!
//! **Invariant**: nothing here commits, and nothing here decides when a commit is cut.

mod decode;
mod decoder_spec;
mod discover;
mod error;
mod fetch;
mod framing;
mod metadata;
mod schema_text;
mod stream_spec;

pub use self::{
    decode::{
        ArrowSpec, AvroEncoding, AvroFile, AvroSpec, AvroWriter, CsvHeader, CsvSpec, Decoder, DecoderFactory,
        GraphiteSpec, InfluxSpec, Precision, ProtobufSpec, SchemaPin, StructuredData, SyslogFormat, SyslogSpec,
    },
    decoder_spec::{DecoderSpec, JsonSpec, NativeDecoder, PluginDecoder, UnknownFields},
    discover::{Discovery, Found},
    error::Error,
    fetch::{Fetched, Fetcher},
    framing::{ByteOrder, Compression, Framer, FramingSpec, FramingType, LengthPrefix},
    schema_text::SchemaText,
    stream_spec::{ConsumerType, FetchSpec, MetadataColumn, OutOfRange, Start, StreamSpec},
};
