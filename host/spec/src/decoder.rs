//! Settings of native decoders that their type alone cannot judge: each is named by its line.
//!
//! Serde reads a decoder as one of several, and says of a setting that it cannot read only that there is no such decoder.

use std::path::Path;

use spout_producer::NativeDecoder;

use super::{
    document::{Entry, Node, Tree},
    error::{Error, Place},
    load::strip_position,
};

/// Takes the settings of native decoders that cannot be read out of `node`, a spec, so that the rest of it can be; what is wrong
/// with each.
pub(super) fn settings(node: &mut Node, file: &Path) -> Vec<Error> {
    let mut wrong = Vec::new();
    if let Some(decoder) = child(node, "producer").and_then(|producer| child(producer, "decoder")) {
        wrong.extend(unread(decoder, "producer.decoder", file));
    }
    if let Some(Node { tree: Tree::List(producers), .. }) = child(node, "producers") {
        for (index, producer) in producers.iter_mut().enumerate() {
            if let Some(decoder) = child(producer, "decoder") {
                wrong.extend(unread(decoder, &format!("producers[{index}].decoder"), file));
            }
        }
    }
    wrong
}

/// Takes what cannot be read out of the decoder at `place`.
fn unread(decoder: &mut Node, place: &str, file: &Path) -> Vec<Error> {
    let line = decoder.line;
    let Tree::Map(entries) = &mut decoder.tree else { return Vec::new() };
    let mut wrong = Vec::new();
    if !entries.iter().any(|entry| entry.key == "type") {
        return wrong;
    }
    while let Err(reason) = read(line, entries.iter()) {
        // That one is at fault without which it can be read, or something else is said.
        let other = |at: &usize| {
            let rest = (0..).zip(&*entries).filter(|(place, _)| place != at).map(|(_, entry)| entry);
            entries.get(*at).is_some_and(|entry| entry.key != "type")
                && read(line, rest).err().as_ref() != Some(&reason)
        };
        let Some(at) = (0..entries.len()).find(other) else {
            wrong.push(wrong_value(Place::new(file, line), place.into(), "not a decoder".into(), &reason));
            return wrong;
        };
        let entry = entries.remove(at);
        let path = format!("{place}.{}", entry.key);
        wrong.push(wrong_value(Place::new(file, entry.line), path, entry.value.describe(), &reason));
    }
    wrong
}

fn child<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Tree::Map(entries) = &mut node.tree else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

/// Whether a decoder with these settings can be read; if not, why.
fn read<'a>(line: usize, entries: impl Iterator<Item = &'a Entry>) -> Result<(), String> {
    let mut json = String::new();
    Node { line, tree: Tree::Map(entries.cloned().collect()) }.write_json(&mut json);
    serde_json::from_str::<NativeDecoder>(&json).map(drop).map_err(|error| strip_position(&error.to_string()))
}

fn wrong_value(at: Place, path: String, found: String, reason: &str) -> Error {
    // What is there is said already.
    let expected = match (reason.split_once("; "), reason.rfind("expected ")) {
        (Some((_, how)), _) => how,
        (None, Some(at)) => reason.get(at..).unwrap_or(reason),
        (None, None) => reason,
    };
    Error::WrongValue { at, path, found, expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{super::parse_every, *};

    fn check(decoder: &str, expected: &[&str]) {
        let text = format!(
            "pipeline: {{name: p}}\nproducer:\n  tcp: {{listen: \"127.0.0.1:0\"}}\n  decoder:\n{decoder}commit: {{colour: red}}\n"
        );
        let (_, wrong) = parse_every(&text, Path::new("spec.yaml"), Path::new("/"));
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        for part in expected {
            assert!(wrong.iter().any(|error| error.contains(part)), "{part}: {wrong:?}");
        }
        // What else is wrong is said too.
        assert!(wrong.iter().any(|error| error.contains("commit.colour")), "{wrong:?}");
        assert_eq!(wrong.len(), expected.len() + 1, "{wrong:?}");
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_named_by_its_line() {
        check(
            "    type: csv\n    delimiter: ;;\n",
            &["spec.yaml:6: `producer.decoder.delimiter` is the string `;;`; it must be one character, or `tab`"],
        );
        check("    type: csv\n    quote: ''\n", &["spec.yaml:6: `producer.decoder.quote`"]);
        check(
            "    type: csv\n    header: maybe\n",
            &["`producer.decoder.header` is the string `maybe`; expected true, false, or a list"],
        );
        check(
            "    type: csv\n    quote: ab\n    delimiter: ;;\n",
            &[
                "spec.yaml:6: `producer.decoder.quote` is the string `ab`; expected a character",
                "spec.yaml:7: `producer.decoder.delimiter`",
            ],
        );
        check("    type: csv\n    header: [id, name]\n    delimiter: tab\n", &[]);
    }
}
