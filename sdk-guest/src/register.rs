//! `register!`: from types to a component's exports, its `about` and its manifest.

use schemars::JsonSchema;

use crate::{Error, Result, wit::base::exports::spout::plugin::about::Offer};

/// Exports a plugin's parts: each a `source`, `stream`, `spout`, `transformer`, `decoder` or `handler`, with its name and a line about it.
///
/// ```ignore
/// register! {
///     stream "gzipped": Gzipped, "the lines of gzipped files", asks: ["{topic}"];
///     decoder "access": Access, "Apache's combined log";
///     decoder "error": Errors, "Apache's error log";
///     handler "sessions": Sessions, "numbers the visits of each visitor";
/// }
/// ```
///
/// A spec says which one it means, `plugin: weblog/access`, unless there is one of the kind only, or one that is called as the
/// plugin is. `asks` names what a spec has to grant if it uses this part. A list is one of directories: NAME is mounted at `/NAME`, and `{topic}` stands for the directory that
/// the topic names. All there is to ask for is `asks: {dirs: ["{topic}"], net: ["api.example.com:80"], listen: [8000], env: ["KEY"]}`;
/// `net: ["*"]` asks for an address that only the user knows, `endpoints: ["broker"]` and `secrets: ["password"]` for what has these names.
///
/// Where one name and one line fit all parts, they are said once:
///
/// ```ignore
/// register! { name: "files", summary: "lines of growing files", asks: ["{topic}"], source: Files, stream: Stream }
/// ```
#[macro_export]
macro_rules! register {
    (name: $name:literal, summary: $summary:literal, asks: $asks:tt $(, $kind:ident: $part:ty)+ $(,)?) => {
        $crate::register! { $($kind $name: $part, $summary, asks: $asks);+ }
    };
    (name: $name:literal, summary: $summary:literal $(, $kind:ident: $part:ty)+ $(,)?) => {
        $crate::register! { $($kind $name: $part, $summary);+ }
    };
    ($($kind:ident $name:literal: $part:ty, $summary:literal $(, asks: $asks:tt)?);+ $(;)?) => {
        // Elsewhere the parts are only checked to be what they are said to be.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            $(let _ = $crate::shim::$kind::open::<$part>;)+
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Plugin;

            impl $crate::wit::base::exports::spout::plugin::about::Guest for Plugin {
                fn describe() -> Vec<$crate::wit::base::exports::spout::plugin::about::Offer> {
                    vec![$($crate::shim::$kind::offer::<$part>($name, $summary)),+]
                }
            }
            $crate::wit::base::export!(Plugin with_types_in $crate::wit::base);
            $crate::__sort!(Plugin [] [] [] [] [] [] $(($kind, $name, $part))+);

            const MANIFEST: &str = concat!(
                "{\"name\":\"", env!("CARGO_PKG_NAME"), "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
                "\",\"sdk\":\"0.1.0\",\"offers\":[", $crate::__offers!($(($kind, $name, [$($asks)?]))+), "]}"
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

/// Sorts parts by kind, then exports each kind that there is.
#[doc(hidden)]
#[macro_export]
macro_rules! __sort {
    ($to:ident [$($a:tt)*] $b:tt $c:tt $d:tt $e:tt $f:tt (source, $($part:tt)*) $($rest:tt)*) => {
        $crate::__sort!($to [$($a)* ($($part)*)] $b $c $d $e $f $($rest)*);
    };
    ($to:ident $a:tt [$($b:tt)*] $c:tt $d:tt $e:tt $f:tt (stream, $($part:tt)*) $($rest:tt)*) => {
        $crate::__sort!($to $a [$($b)* ($($part)*)] $c $d $e $f $($rest)*);
    };
    ($to:ident $a:tt $b:tt [$($c:tt)*] $d:tt $e:tt $f:tt (decoder, $($part:tt)*) $($rest:tt)*) => {
        $crate::__sort!($to $a $b [$($c)* ($($part)*)] $d $e $f $($rest)*);
    };
    ($to:ident $a:tt $b:tt $c:tt [$($d:tt)*] $e:tt $f:tt (handler, $($part:tt)*) $($rest:tt)*) => {
        $crate::__sort!($to $a $b $c [$($d)* ($($part)*)] $e $f $($rest)*);
    };
    ($to:ident $a:tt $b:tt $c:tt $d:tt [$($e:tt)*] $f:tt (spout, $($part:tt)*) $($rest:tt)*) => {
        $crate::__sort!($to $a $b $c $d [$($e)* ($($part)*)] $f $($rest)*);
    };
    ($to:ident $a:tt $b:tt $c:tt $d:tt $e:tt [$($f:tt)*] (transformer, $($part:tt)*) $($rest:tt)*) => {
        $crate::__sort!($to $a $b $c $d $e [$($f)* ($($part)*)] $($rest)*);
    };
    ($to:ident $a:tt $b:tt $c:tt $d:tt $e:tt $f:tt) => {
        $crate::__export!($to source $a);
        $crate::__export!($to stream $b);
        $crate::__export!($to decoder $c);
        $crate::__export!($to handler $d);
        $crate::__export!($to spout $e);
        $crate::__export!($to transformer $f);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($to:ident $kind:ident []) => {};
    ($to:ident $kind:ident [$(($name:literal, $part:ty))+]) => {
        impl $crate::shim::Offers<$crate::shim::$kind::Open> for $to {
            const OFFERS: &'static [(&'static str, $crate::shim::$kind::Open)] =
                &[$(($name, $crate::shim::$kind::open::<$part>())),+];
        }
        const _: () = {
            type Exported = $crate::shim::$kind::Shim<$to>;
            $crate::wit::$kind::export!(Exported with_types_in $crate::wit::$kind);
        };
    };
}

/// The manifest's list of offers.
#[doc(hidden)]
#[macro_export]
macro_rules! __offers {
    (($kind:ident, $name:literal, $asks:tt)) => {
        concat!("{\"interface\":\"", $crate::__interface!($kind), "\",\"name\":\"", $name,
            "\",\"asks\":{", $crate::__asks!($asks), "}}")
    };
    ($first:tt $($rest:tt)+) => { concat!($crate::__offers!($first), $(",", $crate::__offers!($rest)),+) };
}

/// The interface that a kind of part exports.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface {
    (source) => {
        "partition-consumer"
    };
    (stream) => {
        "stream-consumer"
    };
    (decoder) => {
        "decoder"
    };
    (handler) => {
        "handler"
    };
    (spout) => {
        "spout"
    };
    (transformer) => {
        "transformer"
    };
}

/// What a part asks for, as members of a JSON object: literals of texts and numbers are written alike in both languages.
#[doc(hidden)]
#[macro_export]
macro_rules! __asks {
    ([]) => { "" };
    ([[$($dir:literal),* $(,)?]]) => { concat!("\"dirs\":", stringify!([$($dir),*])) };
    ([{$($key:ident: [$($item:literal),* $(,)?]),+ $(,)?}]) => {
        $crate::__members!($($key [$($item),*])+)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __members {
    ($key:ident $items:tt) => { concat!("\"", stringify!($key), "\":", stringify!($items)) };
    ($key:ident $items:tt $($rest:tt)+) => { concat!($crate::__members!($key $items), ",", $crate::__members!($($rest)+)) };
}

/// What a plugin offers of one kind: by name, how to open it.
#[doc(hidden)]
pub trait Offers<T: 'static>: 'static {
    const OFFERS: &'static [(&'static str, T)];
}

/// How to open the offer `name`; the only one has no need of it.
pub(crate) fn named<'a, T>(offers: &'a [(&str, T)], name: &str) -> Result<&'a T> {
    let all = || offers.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match offers {
        [(_, only)] if name.is_empty() => Ok(only),
        _ => {
            offers.iter().find(|(offered, _)| *offered == name).map(|(_, offer)| offer).ok_or_else(|| {
                Error::invalid_config(format!("there is no `{name}` in this plugin; there is {}", all()))
            })
        }
    }
}

pub(crate) fn offer<S: JsonSchema>(interface: &str, name: &str, summary: &str) -> Offer {
    let schema = schemars::schema_for!(S);
    Offer {
        interface: interface.to_owned(),
        name: name.to_owned(),
        summary: summary.to_owned(),
        settings_schema: serde_json::to_string(&schema).unwrap_or_default(),
    }
}

/// The same, of a stream that is to be acknowledged.
pub(crate) fn acked(offer: Offer) -> Offer {
    let mut schema = serde_json::from_str(&offer.settings_schema).unwrap_or_else(|_| serde_json::json!({}));
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("x-acked".into(), true.into());
    }
    Offer { settings_schema: schema.to_string(), ..offer }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn an_offer_is_found_by_its_name() {
        let check =
            |offers: &[(&str, u8)], name: &str, expected: Result<u8, &str>| match (named(offers, name), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(*got, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{name}: {got:?}"),
            };
        check(&[("a", 1)], "", Ok(1));
        check(&[("a", 1), ("b", 2)], "b", Ok(2));
        check(&[("a", 1), ("b", 2)], "", Err("there is `a`, `b`"));
        check(&[("a", 1)], "b", Err("no `b` in this plugin; there is `a`"));
    }

    #[test]
    fn the_manifest_lists_the_offers_with_what_each_asks_for() {
        let list = concat!(
            "[",
            crate::__offers!((stream, "gz", [["logs", "more"]])(
                source,
                "quotes",
                [{net: ["a.example:80", "*"], listen: [8000], env: ["KEY"]}]
            )(decoder, "access", [])),
            "]"
        );
        let list: serde_json::Value = serde_json::from_str(list).unwrap();
        let offer = |interface: &str, name: &str, asks: serde_json::Value| serde_json::json!({"interface": interface, "name": name, "asks": asks});
        let expected = serde_json::json!([
            offer("stream-consumer", "gz", serde_json::json!({"dirs": ["logs", "more"]})),
            offer(
                "partition-consumer",
                "quotes",
                serde_json::json!({"net": ["a.example:80", "*"], "listen": [8000], "env": ["KEY"]})
            ),
            offer("decoder", "access", serde_json::json!({})),
        ]);
        assert_eq!(list, expected);
    }
}
