//! Loads sandboxed plugins and talks to them. The only room that knows wasmtime.
//!
//! [`Plugins`] finds and compiles (what has no file may be on a [`Shelf`]), [`Task`] says who runs what with which grants, and seven
//! clients make calls:
//! [`Provider`] and [`PartitionConsumer`] (a source by partition), [`StreamConsumer`] (a whole stream), [`Decoding`],
//! [`HandlerInstance`], [`SelfDriven`] (a source that makes its own commits, in a repo that it reaches through [`Pfs`]),
//! [`Transformer`] (files of a file). Each client owns one store. After a crash the store is gone, and the next call opens a new one
//! where nothing is lost by that. Their calls are boxed futures: the body of an `async fn` is compiled in each crate that awaits it, and
//! with these bodies all of wasmtime's generic code for the types of the interfaces.
//!
//! **Invariant**: nothing a guest returned leaves this room unchecked, and nothing here knows what plugins are for.

mod apart;
mod apply;
mod backoff;
mod batch;
mod bindings;
mod cache;
mod command;
mod compile;
mod component;
mod convert;
mod decoding;
mod engine;
mod error;
mod files;
mod grants;
mod handler;
mod host;
mod instance;
mod isolation;
mod kernels;
mod keyed;
mod kinds;
mod leash;
mod limits;
mod loading;
mod log;
mod manifest;
mod metrics;
mod net;
mod offers;
mod partition_consumer;
mod pfs;
mod provider;
mod quotas;
mod reference;
mod registry;
mod reserved;
#[cfg(test)]
mod sandbox;
mod secrets;
mod self_driven;
mod settings;
mod shelf;
mod steps;
mod stream_consumer;
mod task;
mod transformer;
mod turns;
mod unchanged;
mod usage;

pub use self::{
    backoff::Backoff,
    cache::user_cache,
    command::{Command, OUT, Output, Start},
    compile::{CompileLimits, Compiler, TooMuch, compile_for_parent},
    component::{Plugin, World, digest},
    decoding::{Decoded, Decoding, RowFault},
    error::{At, Error},
    grants::{DirGrant, GrantSpec, check_grants},
    handler::{HandlerInstance, Rows, Ticked},
    isolation::{Health, Search, Step},
    keyed::KeyedState,
    limits::LimitsSpec,
    manifest::{Asks, Manifest, Needs, with_manifest},
    metrics::{Metric, Metrics},
    net::{Addresses, EndpointGrant, EnvGrant, Exposed, ListenAddress, ListenGrant, NetGrant, TlsFiles, TlsGrant},
    offers::Offer,
    partition_consumer::{FetchLimits, FetchedPartition, PartitionConsumer, Progress},
    pfs::{Answer, Overwrite, Pfs, PfsCommit, PfsFile, PfsInput, PfsWriter, Refused},
    provider::{Criteria, PartitionInfo, Provider},
    quotas::Quotas,
    reference::PluginRef,
    registry::{Listed, Plugins, Stamp},
    secrets::SecretGrant,
    self_driven::SelfDriven,
    settings::{Setting, Settings},
    shelf::Shelf,
    stream_consumer::{Checkpoint, StreamConsumer, StreamStart},
    task::Task,
    transformer::Transformer,
    usage::Usage,
};
