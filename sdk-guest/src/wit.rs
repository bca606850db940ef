//! Bindings that `wit-bindgen` generates from `wit/since-v0.1`: one small world per interface, so a plugin exports only
//! what it has.

#![allow(
    clippy::all,
    unreachable_pub,
    missing_debug_implementations,
    clippy::undocumented_unsafe_blocks,
    unsafe_op_in_unsafe_fn,
    clippy::allow_attributes,
    reason = "generated code"
)]

/// Shared types, and what every plugin may import.
pub mod base {
    wit_bindgen::generate!({
        inline: "package spout:guest-base;
world base {
    import spout:plugin/types@0.1.0;
    import spout:plugin/log@0.1.0;
    import spout:plugin/config@0.1.0;
    import spout:plugin/metrics@0.1.0;
    import spout:plugin/control@0.1.0;
    export spout:plugin/about@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-base/base",
        pub_export_macro: true,
        generate_all,
    });
}

/// A source read by partition.
pub mod source {
    wit_bindgen::generate!({
        inline: "package spout:guest-source;
world source {
    export spout:plugin/metadata-provider@0.1.0;
    export spout:plugin/partition-consumer@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-source/source",
        pub_export_macro: true,
        with: { "spout:plugin/types@0.1.0": crate::wit::base::spout::plugin::types },
    });
}

/// A source read as a whole.
pub mod stream {
    wit_bindgen::generate!({
        inline: "package spout:guest-whole;
world whole {
    export spout:plugin/stream-consumer@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-whole/whole",
        pub_export_macro: true,
        with: { "spout:plugin/types@0.1.0": crate::wit::base::spout::plugin::types },
    });
}

/// A decoder.
pub mod decoder {
    wit_bindgen::generate!({
        inline: "package spout:guest-decoder;
world decoder {
    export spout:plugin/decoder@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-decoder/decoder",
        pub_export_macro: true,
        with: { "spout:plugin/types@0.1.0": crate::wit::base::spout::plugin::types },
    });
}

/// A handler.
pub mod handler {
    wit_bindgen::generate!({
        inline: "package spout:guest-handler;
world handler {
    import spout:plugin/state@0.1.0;
    export spout:plugin/handler@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-handler/handler",
        pub_export_macro: true,
        with: { "spout:plugin/types@0.1.0": crate::wit::base::spout::plugin::types },
        generate_all,
    });
}

/// A source that drives itself.
pub mod spout {
    wit_bindgen::generate!({
        inline: "package spout:guest-spout;
world driven {
    import spout:plugin/marker@0.1.0;
    import spout:plugin/pfs@0.1.0;
    export spout:plugin/spout@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-spout/driven",
        pub_export_macro: true,
        with: { "spout:plugin/types@0.1.0": crate::wit::base::spout::plugin::types },
        generate_all,
    });
}

/// A maker of files.
pub mod transformer {
    wit_bindgen::generate!({
        inline: "package spout:guest-transformer;
world transformer {
    import spout:plugin/datum@0.1.0;
    import spout:plugin/pfs@0.1.0;
    export spout:plugin/transformer@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-transformer/transformer",
        pub_export_macro: true,
        with: {
            "spout:plugin/types@0.1.0": crate::wit::base::spout::plugin::types,
            "spout:plugin/pfs@0.1.0": crate::wit::spout::spout::plugin::pfs,
        },
        generate_all,
    });
}

/// Connections that the host makes, and secrets by handle.
pub mod network {
    wit_bindgen::generate!({
        inline: "package spout:guest-network;
world networked {
    import spout:plugin/network@0.1.0;
    import spout:plugin/secrets@0.1.0;
}",
        path: "../wit/since-v0.1",
        world: "spout:guest-network/networked",
        generate_all,
    });
}
