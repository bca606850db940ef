//! How messages enter and become batches.
//!
//! A [`Source`] is what the spec says to read, and what that can [`Promise`]. A [`Producer`] reads it: it says which
//! partitions there are and where each starts, a [`Fetcher`] brings the messages of one or more of
//! them, each with the [`Span`](spout_data::Span) they cover, a [`Decoder`] makes rows of them.
//!
//! ```text
//! Producer::partitions ─► Fetcher::fetch ─► Fetched{messages, span} ─► Decoder::decode ─► Batch
//! ```
//!
//! **Invariant**: nothing here commits, and nothing here decides when a commit is cut.

mod class;
mod decode;
mod decoder_spec;
mod discover;
mod error;
mod framing;
mod http;
mod http_answer;
mod inbox;
mod metadata;
mod out_of_range;
mod partitions;
mod produce;
mod recent;
mod repo;
mod repo_spec;
mod schema_text;
mod several;
mod source;
mod stdin;
mod stream_spec;
mod subscribe;
mod tcp;
mod whole_stream;

pub use self::{
    class::{Class, Guarantee, Promise},
    decode::{
        ArrowSpec, AvroEncoding, AvroFile, AvroSpec, AvroWriter, CsvSpec, Decoder, DecoderFactory, GraphiteSpec,
        InfluxSpec, Member, PRODUCER, Precision, ProtobufSpec, SchemaPin, Steady, StructuredData, SyslogFormat,
        SyslogSpec, Union,
    },
    decoder_spec::{DecoderSpec, JsonSpec, NativeDecoder, PluginDecoder, UnknownFields},
    discover::StreamProducer,
    error::Error,
    framing::{ByteOrder, Compression, Framer, FramingSpec, FramingType, LengthPrefix},
    http::{HttpProducer, HttpSpec},
    produce::{Durable, Fetched, Fetcher, Found, Producer, ProducerTraits},
    repo::{RepoProducer, Runs},
    repo_spec::{RepoMode, RepoSpec, RepoStart, Rewritten},
    schema_text::SchemaText,
    several::{Producers, numbers},
    source::Source,
    stdin::{StdinProducer, StdinSpec},
    stream_spec::{ConsumerType, FetchSpec, MetadataColumn, OutOfRange, Start, StreamSpec},
    subscribe::{LinkedPublisher, OnEnd, SubscribeProducer, SubscribeSpec},
    tcp::{Reply, TcpProducer, TcpSpec},
};
