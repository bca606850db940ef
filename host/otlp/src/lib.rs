//! OpenTelemetry: spans and figures as OTLP over HTTP, sent to the collector that the standard variables name.
//!
//! [`Settings`] are these variables; [`start`] has spans taken from now on and sends what comes of them; `proto` is how that looks in
//! Protobuf, `send` how it gets there.
//!
//! **Invariant**: nobody waits for a collector. What one does not take in time is left out, counted, and said once a minute at most.

mod error;
mod export;
mod proto;
mod send;
mod settings;

pub use self::{
    error::Error,
    export::{Export, start},
    settings::{Settings, Signal},
};
