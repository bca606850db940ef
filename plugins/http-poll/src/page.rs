//! An answer in its items, each as it stands there, byte for byte.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::value::RawValue;
use spout_guest::Fnv;

/// The text at a JSON pointer; `None` if there is nothing.
pub(crate) fn at<'a>(text: &'a str, pointer: &str) -> Option<&'a RawValue> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for word in pointer.split('/').skip(1) {
        let name = word.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            items.get(name.parse::<usize>().ok()?).copied()?
        } else {
            // Of names that are there twice, the last counts.
            let fields: BTreeMap<std::borrow::Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
            fields.get(name.as_str()).copied()?
        };
    }
    Some(value)
}

/// The items of the list at a pointer.
pub(crate) fn items(text: &str, pointer: &str) -> Option<Vec<String>> {
    let list: Vec<&RawValue> = serde_json::from_str(at(text, pointer)?.get()).ok()?;
    Some(list.into_iter().map(|item| item.get().to_owned()).collect())
}

/// A text or a number, as a parameter has it; `None` for nothing, an empty text, and what is neither.
pub(crate) fn word(text: &str, pointer: &str) -> Option<String> {
    let raw = at(text, pointer)?.get();
    let word = if raw.starts_with('"') {
        serde_json::from_str::<String>(raw).ok()?
    } else if raw.starts_with(['{', '[']) || matches!(raw, "null" | "true" | "false") {
        return None;
    } else {
        raw.to_owned()
    };
    Some(word).filter(|word| !word.is_empty())
}

/// Orders values as an API does: numbers by size, texts by their bytes.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let whole = |text: &str| text.parse::<i128>().ok();
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => match (number(one), number(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => one.cmp(other),
        },
    }
}

/// The hash of what was hashed so far and this text.
pub(crate) fn hashed(hash: Fnv, text: &str) -> Fnv {
    // A byte that no UTF-8 has keeps texts apart.
    hash.and(text.bytes().chain([0xff]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_as_they_stand() {
        let body = r#"{"data": {"a/b": [{"n" : 1.50 , "t":"\u00e4"}, 7]}, "next": "x"}"#;
        assert_eq!(items(body, "/data/a~1b"), Some(vec![r#"{"n" : 1.50 , "t":"\u00e4"}"#.to_owned(), "7".into()]));
        assert_eq!(items("[1, 2]", ""), Some(vec!["1".into(), "2".into()]));
        assert_eq!(at(body, "/data/a~1b/1").map(RawValue::get), Some("7"));
        for (body, pointer) in [("", ""), ("{}", ""), ("{}", "/a"), ("[1", ""), ("{\"a\":{}}", "/a"), ("[1]", "/x")] {
            assert_eq!(items(body, pointer), None, "{body} {pointer}");
        }
    }

    #[test]
    fn words_are_texts_and_numbers_in_their_order() {
        let of = |json: &str| word(&format!("{{\"a\":{json}}}"), "/a");
        assert_eq!(
            (of("\"x\\n\""), of("12"), of("1.50")),
            (Some("x\n".into()), Some("12".into()), Some("1.50".into()))
        );
        for json in ["null", "\"\"", "[]", "{}", "false"] {
            assert_eq!(of(json), None, "{json}");
        }
        for (less, more) in
            [("9", "10"), ("-1", "0"), ("1.5", "2"), ("2026-01-09", "2026-01-10"), ("a", "b"), ("9", "a")]
        {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
        }
        assert_eq!(compare("9007199254740993", "9007199254740992"), Ordering::Greater);
        let both = |one, other| hashed(hashed(Fnv::default(), one), other);
        assert_ne!(both("ab", "c"), both("a", "bc"));
    }
}
