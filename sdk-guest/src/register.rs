//! `register!`: from types to a component's exports.

use schemars::JsonSchema;

use crate::wit::base::exports::spout::plugin::about::Offer;

/// Exports a plugin's parts: any of `source`, `stream`, `decoder`, `handler`, in this order. `asks` names the
/// directories that must be granted.
///
/// ```ignore
/// register! { name: "files", summary: "lines of growing files", asks: ["events"], source: Files, stream: Stream }
/// ```
#[macro_export]
macro_rules! register {
    (
        name: $name:literal, summary: $summary:literal
        $(, asks: [$($dir:literal),* $(,)?])?
        $(, source: $source:ty)?
        $(, stream: $stream:ty)?
        $(, decoder: $decoder:ty)?
        $(, handler: $handler:ty)?
        $(,)?
    ) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct About;

            impl $crate::wit::base::exports::spout::plugin::about::Guest for About {
                fn describe() -> Vec<$crate::wit::base::exports::spout::plugin::about::Offer> {
                    vec![
                        $($crate::shim::offer::<<$source as $crate::SharedSource>::Settings>("partition-consumer", $name, $summary),)?
                        $($crate::shim::offer::<<$stream as $crate::StreamConsumer>::Settings>("stream-consumer", $name, $summary),)?
                        $($crate::shim::offer::<<$decoder as $crate::Decoder>::Settings>("decoder", $name, $summary),)?
                        $($crate::shim::offer::<<$handler as $crate::Handler>::Settings>("handler", $name, $summary),)?
                    ]
                }
            }
            $crate::wit::base::export!(About with_types_in $crate::wit::base);

            $(
                type SourceExport = $crate::shim::SourceShim<$source>;
                $crate::wit::source::export!(SourceExport with_types_in $crate::wit::source);
            )?
            $(
                type StreamExport = $crate::shim::StreamShim<$stream>;
                $crate::wit::stream::export!(StreamExport with_types_in $crate::wit::stream);
            )?
            $(
                type DecoderExport = $crate::shim::DecoderShim<$decoder>;
                $crate::wit::decoder::export!(DecoderExport with_types_in $crate::wit::decoder);
            )?
            $(
                type HandlerExport = $crate::shim::HandlerShim<$handler>;
                $crate::wit::handler::export!(HandlerExport with_types_in $crate::wit::handler);
            )?

            const MANIFEST: &str = concat!(
                "{\"name\":\"", env!("CARGO_PKG_NAME"), "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
                "\",\"sdk\":\"0.1.0\",\"asks\":{\"dirs\":[", $crate::__list!($($($dir),*)?), "]}}"
            );

            #[used]
            #[unsafe(link_section = "spout:manifest")]
            static SECTION: [u8; MANIFEST.len()] = {
                let mut bytes = [0; MANIFEST.len()];
                bytes.copy_from_slice(MANIFEST.as_bytes());
                bytes
            };
        };
    };
}

/// `"a","b"` from literals, for the manifest.
#[doc(hidden)]
#[macro_export]
macro_rules! __list {
    () => { "" };
    ($first:literal $(, $rest:literal)*) => { concat!("\"", $first, "\"" $(, ",\"", $rest, "\"")*) };
}

#[doc(hidden)]
#[must_use]
pub fn offer<S: JsonSchema>(interface: &str, name: &str, summary: &str) -> Offer {
    let schema = schemars::schema_for!(S);
    Offer {
        interface: interface.to_owned(),
        name: name.to_owned(),
        summary: summary.to_owned(),
        settings_schema: serde_json::to_string(&schema).unwrap_or_default(),
    }
}
