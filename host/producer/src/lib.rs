//! How messages enter and become batches.
//!
//! A [`Source`] is what a [`ProducerSpec`] says to read, and what that can [`Promise`]. A [`Producer`] reads it: it says which
//! partitions there are and where each starts, a [`Fetcher`] brings the messages of one or more of
//! them, each with the [`Span`](spout_data::Span) they cover, a [`Decoder`] makes rows of them.
//!
//! ```text
//! Producer::partitions ─► Fetcher::fetch ─► Fetched{messages, span} ─► Decoder::decode ─► Batch
//! ```
//!
//! **Invariant**: nothing here commits, and nothing here decides when a commit is cut.

mod access;
mod certified;
mod class;
mod decode;
mod decoder_spec;
mod error;
mod framing;
mod inbox;
mod kinds;
mod metadata;
mod password;
mod produce;
mod service;
mod several;
mod source;
mod sources;
mod standings;
mod unfinished;

pub use spout_data::SchemaText;

pub use self::{
    access::{Pass, StoreAccess},
    class::{Class, Guarantee, Promise},
    decode::{
        ArrowSpec, Change, Decoder, DecoderFactory, JsonSpec, Member, NativeDecoder, PRODUCER, RegistryError,
        RegistrySpec, SchemaGuard, SchemaPin, Schemas, Union,
    },
    decoder_spec::{DecoderSpec, PluginDecoder, UnknownFields},
    error::Error,
    framing::{Compression, CsvStyle, Framer, FramingSpec, FramingType},
    metadata::MetadataColumn,
    produce::{Boundary, Durable, Fetched, Fetcher, Found, Goal, OutOfRange, Producer, ProducerTraits},
    service::{Service, ServiceSpec},
    several::{Producers, numbers},
    source::{Output, Peek, Source, SourceContext, SourcePlugin, SourceSpec, Upstream},
    sources::{
        ConsumerType, Cron, FetchSpec, InputSpec, LinkedPublisher, OnExit, OnFailedFile, PerFileError, PerFileSpec,
        ProducerSpec, Readers, Start, StreamSpec, TransformSpec, Twice,
    },
    standings::{Elsewhere, Standing, Standings, Trouble},
};
