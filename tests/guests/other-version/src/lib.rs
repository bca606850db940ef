//! A plugin of an interface version that is yet to come.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package spout:plugin@0.9.0;
            interface decoder { decode: func() -> string; }
            world decoding { export decoder; }
        ",
    });
}

struct Later;

impl bindings::exports::spout::plugin::decoder::Guest for Later {
    fn decode() -> String {
        "later".to_owned()
    }
}

bindings::export!(Later with_types_in bindings);
