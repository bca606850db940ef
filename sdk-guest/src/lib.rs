//! Everything a spout plugin needs.
//!
//! A plugin is an ordinary crate compiled to `wasm32-wasip2`. It implements one or more of these traits and registers them:
//!
//! | Trait | Makes the plugin |
//! |---|---|
//! | [`Source`] with its [`Reader`] | a source read by partition |
//! | [`SharedSource`] with its [`SharedReader`] | the same, several partitions at once |
//! | [`StreamConsumer`] | a source read as a whole |
//! | [`Spout`] | a source that drives itself and makes its own commits |
//! | [`Transformer`] | files into files |
//! | [`Decoder`] | messages into rows |
//! | [`Handler`] | rows into rows |
//!
//! ```
//! use spout_guest::{Answer, Handler, Input, Result, State, register};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings { column: String, at_least: i64 }
//!
//! struct AtLeast(Settings);
//!
//! impl Handler for AtLeast {
//!     type Settings = Settings;
//!
//!     fn open(settings: Settings, _: State) -> Result<Self> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn process(&mut self, input: &dyn Input) -> Result<Answer> {
//!         let column = input.column(&self.0.column)?;
//!         Ok(Answer::mask((0..input.rows()).map(|row| column.i64(row).is_some_and(|n| n >= self.0.at_least))))
//!     }
//! }
//!
//! register! { name: "at-least", summary: "keeps rows whose column is large enough", handler: AtLeast }
//! ```
//!
//! A plugin may have several parts, each with its name; a spec then says which, `plugin: weblog/access`: see [`register!`].
//!
//! A decoder of messages that are one row each is a function from [`Message`] to a row and one from rows to [`Columns`]:
//!
//! ```
//! use spout_guest::{Columns, Decoded, Decoder, Fault, Message, Messages, NoSettings, Opening, Result, Schema, register};
//!
//! struct Pairs;
//!
//! fn pair(message: Message<'_>) -> std::result::Result<(&str, i64), Fault> {
//!     let (name, value) = message.text()?.split_once('=').ok_or(("pairs.syntax", "there is no `=`".to_owned()))?;
//!     Ok((name, value.parse().map_err(|error| ("pairs.value", format!("`{value}`: {error}")))?))
//! }
//!
//! fn columns(pairs: &[(&str, i64)]) -> Columns {
//!     Columns::new().str("name", pairs.iter().map(|pair| pair.0)).i64("value", pairs.iter().map(|pair| pair.1))
//! }
//!
//! impl Decoder for Pairs {
//!     type Settings = NoSettings;
//!
//!     fn open(_: NoSettings, _: Opening) -> Result<Self> {
//!         Ok(Self)
//!     }
//!
//!     fn output(&self) -> Option<Schema> {
//!         Some(columns(&[]).schema())
//!     }
//!
//!     fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
//!         messages.decode(pair, columns)
//!     }
//! }
//!
//! register! { name: "pairs", summary: "`name=value`, one a message", decoder: Pairs }
//! ```
//!
//! A [`Handler`] may keep state, which is part of the commit that holds the rows: tables of [`State::keyed`], which may be
//! large, and the bytes of [`Handler::snapshot`]. With `time` and `tick` in its spec it learns from [`Handler::tick`] how far
//! event time has come.
//!
//! A directory that the spec grants as `grants: {PLUGIN: {dirs: {NAME: PATH}}}` is mounted at `/NAME`: `std::fs` works there and
//! nowhere else. [`net`] has connections to `endpoints`, TCP and HTTP to what `net` and `listen` grant; [`secret`] uses what `secrets`
//! grants; what `env` grants is in `std::env`. Kernels of the host compute over columns that stay there: the feature `kernels`. [`metrics`] reports numbers to the host, [`info!`] and [`warn!`] write to its log.
//!
//! Plugin logic is plain Rust: test it natively with `cargo test` and [`testing`], whose [`testing::Network`] has peers in memory in the
//! place of servers.

#[doc(hidden)]
pub mod boundary;
pub mod canonical;
mod columns;
mod decoder;
mod deliveries;
mod error;
mod fetch;
mod handler;
#[cfg(feature = "kernels")]
pub mod kernels;
mod keyed;
pub mod log;
mod messages;
pub mod metrics;
pub mod net;
mod place;
mod register;
mod retry;
pub mod secret;
mod settings;
mod shared_source;
mod source;
mod spout;
mod stream_consumer;
pub mod testing;
mod transformer;
mod waiting;
#[doc(hidden)]
pub mod wit;

pub use self::{
    columns::{Columns, Fault},
    decoder::{Decoded, Decoder, Opening, RowFault},
    deliveries::Deliveries,
    error::{Error, Result},
    fetch::{Fetched, Limits, Position, Progress},
    handler::{Answer, Handler, Input, Ticked},
    keyed::{Encode, Json, Key, Keyed, Scan, State, Value},
    messages::{Added, Message, Messages},
    place::Fnv,
    retry::{Backoff, Every},
    settings::{NoSettings, parse as parse_settings},
    shared_source::{Answered, Each, Pauses, SharedReader, SharedSource},
    source::{Criteria, Known, Partition, Reader, Source},
    spout::{Commit, Mode, Pfs, PfsFile, Spout, Writer},
    stream_consumer::{Checkpoint, Start, StreamConsumer},
    transformer::{InputFile, Output, Transformer},
    waiting::Waiting,
};
#[doc(hidden)]
pub use schemars;
pub use spout_codec::{
    Array, ArrayBuilder, Batch, DataType, Field, Schema, TimeUnit, UnknownField, batch, schema_text, time,
};

#[doc(hidden)]
pub mod shim {
    //! Glue between the WIT interface and the traits, for `register!`.

    pub use crate::{
        decoder::shim as decoder, handler::shim as handler, register::Offers, source::shim as source,
        spout::shim as spout, stream_consumer::shim as stream, transformer::shim as transformer,
    };
}

/// A monotonic clock, for measuring durations.
#[must_use]
pub fn now() -> std::time::Instant {
    #[cfg(target_arch = "wasm32")]
    {
        std::time::Instant::now()
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        testing::network::clock()
    }
}

/// Whether the host wants the plugin to finish.
#[must_use]
pub fn draining() -> bool {
    #[cfg(target_arch = "wasm32")]
    {
        wit::base::spout::plugin::control::draining()
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        false
    }
}

/// Sleeps up to `time`, or less when the host wants the plugin to finish; returns whether to continue.
///
/// A plugin with nothing to return waits here.
pub fn pause(time: std::time::Duration) -> bool {
    #[cfg(target_arch = "wasm32")]
    {
        use wit::base::spout::plugin::control;
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        control::pause(ms) == control::Signal::Proceed
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        if !testing::network::passes(time) {
            std::thread::sleep(time.min(std::time::Duration::from_millis(1)));
        }
        true
    }
}
