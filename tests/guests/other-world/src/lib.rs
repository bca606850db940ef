//! A sound component that is no plugin.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package test:other;
            interface greeting { hello: func() -> string; }
            world other { export greeting; }
        ",
    });
}

struct Other;

impl bindings::exports::test::other::greeting::Guest for Other {
    fn hello() -> String {
        "hello".to_owned()
    }
}

bindings::export!(Other with_types_in bindings);
