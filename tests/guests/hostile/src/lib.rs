//! A plugin that misbehaves on demand: the setting `mode` says how, `call` in which call (`fetch`, `decode`, `process`, …; `any`).
//!
//! Without a mode it is a plain plugin: a source of `partitions` with `total` messages each, a decoder into one column, a handler
//! that forwards.

mod decoder;
mod deed;
mod handler;
mod links;
mod often;
mod parts;
mod source;
mod stream;
mod waits;
mod wasi;

pub(crate) mod bindings {
    //! The plugin interface, with every world in one.

    wit_bindgen::generate!({
        inline: "
            package test:hostile;
            world hostile {
                include spout:plugin/source@0.1.0;
                include spout:plugin/stream-source@0.1.0;
                include spout:plugin/decoding@0.1.0;
                include spout:plugin/handling@0.1.0;
            }
        ",
        path: "../../../wit/since-v0.1",
        world: "test:hostile/hostile",
        generate_all,
    });
}

use bindings::{
    exports::spout::plugin::about::{self, Offer},
    spout::plugin::types::{Error, Fault},
};

struct Hostile;

impl about::Guest for Hostile {
    fn describe() -> Vec<Offer> {
        vec![Offer {
            interface: "decoder".into(),
            name: "hostile".into(),
            summary: "misbehaves\u{1b}[2J on demand".into(),
            settings_schema: "{}".into(),
        }]
    }
}

/// What to do, and in which call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    mode: String,
    call: String,
    /// Whether it says when a deed begins.
    pub(crate) loud: bool,
    pub(crate) total: u64,
    pub(crate) partitions: u32,
}

impl Plan {
    pub(crate) fn new(settings: &[(String, String)]) -> Self {
        let get = |key: &str| settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let number = |key: &str| get(key).and_then(|number| number.parse::<u32>().ok());
        let (total, partitions) = (number("total").unwrap_or(10).into(), number("partitions").unwrap_or(1));
        let (mode, call) = (get("mode").unwrap_or_default(), get("call").unwrap_or_default());
        Self { mode, call, loud: get("loud").is_some(), total, partitions }
    }

    /// The mode, if it is meant for `call`.
    pub(crate) fn mode(&self, call: &str) -> &str {
        if self.call == call || self.call == "any" { &self.mode } else { "" }
    }
}

pub(crate) fn fault(code: &str, message: &str) -> Fault {
    Fault { code: code.into(), message: message.into(), retry_after_ms: None }
}

pub(crate) fn fatal(code: &str, message: &str) -> Error {
    Error::Fatal(fault(code, message))
}

bindings::export!(Hostile with_types_in bindings);
