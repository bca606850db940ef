//! Fits a document to a JSON schema: names what does not belong by line and path, and brings keys to their proper form.
//!
//! Serde alone would lose the line within tagged and untagged enums, and would say little about which key was meant.
//! What passes here deserializes; serde then only builds the structs.

use std::{cell::RefCell, path::Path, str::FromStr};

use serde_json::{Map, Value};
use spout_data::{ByteSize, Period};
use spout_plugin::{ListenAddress, NetGrant};
use spout_producer::Cron;
use spout_wire::Endpoint;

use super::{
    document::{Node, Tree},
    error::{Error, Place},
    keyword::{
        allows, as_other, as_text, camel, expectation, expectations, join, lower_first, required, tag, within, words,
    },
    near::{advice, nearest},
};

/// Where a property's schema has other words for it.
const ALSO: &str = "x-also";

/// A JSON schema to fit documents to.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub root: &'a Value,
    pub file: &'a Path,
    /// Whether values arrive as texts where they are used, as settings of plugins do: then `"5"` is a number too, `5` a
    /// text, and keys have one spelling only.
    pub texts: bool,
    /// What is wrong within maps and lists, where looking goes on behind it.
    found: RefCell<Vec<Error>>,
}

impl<'a> Shape<'a> {
    pub(super) fn new(root: &'a Value, file: &'a Path, texts: bool) -> Self {
        Self { root, file, texts, found: RefCell::default() }
    }

    /// Fits `node`, which is at `path` of its document, to the schema; everything in it that is unknown, missing, or of the wrong
    /// type or value.
    pub(super) fn fit(&self, node: &mut Node, path: &str) -> Vec<Error> {
        let last = self.node(node, self.root, path);
        self.note(last);
        self.found.take()
    }

    /// Keeps an error for later: what comes behind it is looked at too.
    fn note(&self, result: Result<(), Error>) {
        self.found.borrow_mut().extend(result.err());
    }

    fn node(&self, node: &mut Node, schema: &'a Value, path: &str) -> Result<(), Error> {
        let Some(schema) = self.target(schema).as_object() else { return Ok(()) };
        if schema.contains_key("anyOf") || schema.contains_key("oneOf") {
            return self.alternatives(node, schema, path);
        }
        if self.texts && !allows(schema, &node.tree) {
            as_other(node, schema);
        }
        if !allows(schema, &node.tree) {
            return Err(self.wrong(node, path, &expectation(schema)));
        }
        self.value(node, schema, path)
    }

    /// Fits `node`, whose type the schema allows.
    fn value(&self, node: &mut Node, schema: &'a Map<String, Value>, path: &str) -> Result<(), Error> {
        match &mut node.tree {
            Tree::Map(_) => self.map(node, schema, path),
            Tree::List(list) => {
                let Some(items) = schema.get("items") else { return Ok(()) };
                for (index, item) in list.iter_mut().enumerate() {
                    let fitted = self.node(item, items, &format!("{path}[{index}]"));
                    self.note(fitted);
                }
                Ok(())
            }
            Tree::Text(_) => self.text(node, schema, path),
            Tree::Number(..) => self.number(node, schema, path),
            Tree::Null | Tree::Bool(_) => Ok(()),
        }
    }

    /// What a `$ref` refers to.
    fn target(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(pointer) = schema.get("$ref").and_then(Value::as_str) {
            let Some(next) = pointer.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else { break };
            schema = next;
        }
        schema
    }

    /// The property a key means: its own name, the same in snake case, or another word for it ([`ALSO`]).
    fn property<'s>(&self, properties: &'s Map<String, Value>, key: &str) -> Option<(&'s String, &'s Value)> {
        let also = |value: &Value| {
            value.get(ALSO).and_then(Value::as_array).is_some_and(|words| words.iter().any(|word| word == key))
        };
        let exact = properties.get_key_value(key);
        if self.texts {
            return exact;
        }
        let camel = || properties.get_key_value(camel(key).as_ref());
        exact.or_else(camel).or_else(|| properties.iter().find(|(_, value)| also(value)))
    }

    fn wrong(&self, node: &Node, path: &str, expected: &str) -> Error {
        Error::WrongValue {
            at: Place::new(self.file, node.line),
            path: if path.is_empty() { "the document".into() } else { path.to_owned() },
            found: node.describe(),
            expected: expected.to_owned(),
        }
    }

    fn map(&self, node: &mut Node, schema: &'a Map<String, Value>, path: &str) -> Result<(), Error> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let line = node.line;
        let Tree::Map(entries) = &mut node.tree else { return Ok(()) };
        let mut seen: Vec<(String, usize)> = Vec::new();
        let mut strays: Vec<String> = Vec::new();
        for entry in entries {
            let inner = join(path, &entry.key);
            if let Some((name, value)) = properties.and_then(|properties| self.property(properties, &entry.key)) {
                name.clone_into(&mut entry.key);
                if let Some((_, first)) = seen.iter().find(|(key, _)| key == name) {
                    let at = Place::new(self.file, entry.line);
                    self.note(Err(Error::TwiceKey { at, key: name.clone(), first: *first }));
                    continue;
                }
                seen.push((name.clone(), entry.line));
                let fitted = self.node(&mut entry.value, value, &inner);
                self.note(fitted);
            } else {
                let fitted = self.free(entry.line, &entry.key, &mut entry.value, schema, &inner);
                strays.extend(fitted.is_err().then(|| entry.key.clone()));
                self.note(fitted);
            }
        }
        // A key that was meant by one that is none is not missing.
        let meant = |name: &str| strays.iter().any(|stray| nearest(stray, [name]).is_some());
        for missing in required(schema).filter(|name| !seen.iter().any(|(key, _)| key == name) && !meant(name)) {
            self.note(Err(self.missing(line, schema, missing, path)));
        }
        Ok(())
    }

    /// A key that is not one of the schema's own: welcome where the keys are the user's.
    fn free(
        &self,
        line: usize,
        key: &str,
        value: &mut Node,
        schema: &'a Map<String, Value>,
        path: &str,
    ) -> Result<(), Error> {
        if let Some(patterns) = schema.get("patternProperties").and_then(Value::as_object) {
            // The only patterns in a spec are those of numbered partitions.
            return match patterns.values().next().filter(|_| key.parse::<u32>().is_ok()) {
                Some(of) => self.node(value, of, path),
                None => {
                    Err(self.unknown(line, key, path, "the keys here are partition numbers, as in `{0: 12}`".into()))
                }
            };
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let known = schema.get("properties").and_then(Value::as_object);
                let known = known.into_iter().flat_map(Map::keys).map(String::as_str);
                Err(self.unknown(line, key, path, advice(key, known)))
            }
            Some(of @ Value::Object(_)) => {
                if self.target(of).get("type").and_then(Value::as_str) == Some("string") {
                    as_text(value);
                }
                self.node(value, of, path)
            }
            _ => Ok(()),
        }
    }

    fn unknown(&self, line: usize, key: &str, path: &str, advice: String) -> Error {
        Error::UnknownKey { at: Place::new(self.file, line), key: key.to_owned(), path: path.to_owned(), advice }
    }

    fn missing(&self, line: usize, schema: &Map<String, Value>, missing: &str, path: &str) -> Error {
        let about = schema.get("properties").and_then(|properties| properties.get(missing));
        let about = about.map(|schema| self.target(schema)).and_then(|schema| schema.get("description"));
        let about = about.and_then(Value::as_str).and_then(|text| text.lines().next()).unwrap_or_default();
        Error::Missing {
            at: Place::new(self.file, line),
            within: within(path),
            missing: format!("`{missing}`"),
            advice: match about.trim_end_matches('.') {
                "" => format!("add `{missing}: …`"),
                about => format!("add `{missing}: …` ({})", lower_first(about)),
            },
        }
    }

    fn text(&self, node: &Node, schema: &Map<String, Value>, path: &str) -> Result<(), Error> {
        let Tree::Text(text) = &node.tree else { return Ok(()) };
        if let Some(words) = words(schema) {
            return if words.contains(&text.as_str()) {
                Ok(())
            } else {
                Err(self.wrong(node, path, &advice(text, words)))
            };
        }
        let format = schema.get("format").and_then(Value::as_str);
        if format == Some("cron")
            && let Err(problem) = Cron::from_str(text)
        {
            // What is wrong with one is not seen at a glance.
            let why = problem.split_once(": ").map_or(problem.as_str(), |(_, why)| why);
            return Err(self.wrong(node, path, why));
        }
        let problem = match format {
            Some("byte-size") => ByteSize::from_str(text).err(),
            Some("period") => Period::from_str(text).err(),
            Some("endpoint") => Endpoint::from_str(text).err(),
            Some("net-grant") => NetGrant::from_str(text).err(),
            Some("listen-address") => ListenAddress::from_str(text).err(),
            Some("date-time") => text
                .parse::<jiff::Timestamp>()
                .is_err()
                .then(|| format!("`{text}` is not a time; write it like 2026-01-01T00:00:00Z")),
            _ => None,
        };
        match problem {
            Some(problem) => {
                let how = problem.split_once("; ").map_or(problem.as_str(), |(_, how)| how);
                Err(self.wrong(node, path, how))
            }
            None => Ok(()),
        }
    }

    fn number(&self, node: &Node, schema: &Map<String, Value>, path: &str) -> Result<(), Error> {
        let Tree::Number(number, _) = &node.tree else { return Ok(()) };
        let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
        let most = limit("maximum").or(match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => Some(f64::from(u8::MAX)),
            Some("uint16") => Some(f64::from(u16::MAX)),
            Some("uint32") => Some(f64::from(u32::MAX)),
            Some("int32") => Some(f64::from(i32::MAX)),
            _ => None,
        });
        let value = number.as_f64().unwrap_or(f64::NAN);
        if let Some(least) = limit("minimum").filter(|least| value < *least) {
            return Err(self.wrong(node, path, &format!("it must be at least {least}")));
        }
        if let Some(most) = most.filter(|most| value > *most) {
            return Err(self.wrong(node, path, &format!("it must be at most {most}")));
        }
        Ok(())
    }

    /// Fits `node` to that one of several schemas which it was meant for.
    fn alternatives(&self, node: &mut Node, schema: &'a Map<String, Value>, path: &str) -> Result<(), Error> {
        let mut all = Vec::new();
        self.flatten(schema, &mut all);
        if self.texts && !all.iter().any(|schema| allows(schema, &node.tree)) {
            all.iter().for_each(|schema| as_other(node, schema));
        }
        let fitting: Vec<_> = all.iter().copied().filter(|schema| allows(schema, &node.tree)).collect();
        match (&node.tree, fitting.as_slice()) {
            (_, []) => Err(self.wrong(node, path, &expectations(&all))),
            (Tree::Text(text), several) => {
                let of: Vec<&str> = several.iter().filter_map(|schema| words(schema)).flatten().collect();
                match several.iter().find(|schema| words(schema).is_none_or(|list| list.contains(&text.as_str()))) {
                    Some(schema) => self.text(node, schema, path),
                    None => match nearest(text, of) {
                        Some(near) => Err(self.wrong(node, path, &format!("did you mean `{near}`?"))),
                        None => Err(self.wrong(node, path, &expectations(&all))),
                    },
                }
            }
            (Tree::Map(_), several @ [_, _, ..]) => self.one_of_maps(node, several, path),
            (_, [first, ..]) => self.value(node, first, path),
        }
    }

    fn flatten(&self, schema: &'a Map<String, Value>, out: &mut Vec<&'a Map<String, Value>>) {
        let lists = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)).filter_map(Value::as_array);
        let mut nested = false;
        for inner in lists.flatten().filter_map(|inner| self.target(inner).as_object()) {
            nested = true;
            self.flatten(inner, out);
        }
        if !nested {
            out.push(schema);
        }
    }

    /// Chooses among maps: by the tag that says which (`type: filter`), or by the keys that only one of them has to have.
    fn one_of_maps(&self, node: &mut Node, several: &[&'a Map<String, Value>], path: &str) -> Result<(), Error> {
        let Tree::Map(entries) = &node.tree else { return Ok(()) };
        let has = |name: &str| entries.iter().any(|entry| entry.key == name || camel(&entry.key) == name);
        let tag_name = several.iter().find_map(|schema| tag(schema)).map(|(name, _)| name);
        let tagged = tag_name.and_then(|tag| entries.iter().find(|entry| entry.key == tag));
        if let (Some(tag_name), Some(entry)) = (tag_name, tagged) {
            let kinds: Vec<&str> = several.iter().filter_map(|schema| tag(schema)).map(|(_, kind)| kind).collect();
            let Tree::Text(kind) = &entry.value.tree else {
                return Err(self.wrong(
                    &entry.value,
                    &join(path, tag_name),
                    &format!("expected one of {}", kinds.join(", ")),
                ));
            };
            let found = several.iter().find(|schema| tag(schema).is_some_and(|(_, value)| value == kind));
            return match found {
                Some(schema) => self.map(node, schema, path),
                None => Err(self.wrong(&entry.value, &join(path, tag_name), &advice(kind, kinds))),
            };
        }
        if let Some(schema) = several.iter().find(|schema| tag(schema).is_none() && required(schema).all(has)) {
            return self.map(node, schema, path);
        }
        let known = |key: &str| {
            let of = |schema: &&Map<String, Value>| {
                schema.get("properties").and_then(Value::as_object).is_some_and(|all| self.property(all, key).is_some())
            };
            several.iter().any(of)
        };
        if let Some(entry) = entries.iter().find(|entry| !known(&entry.key)) {
            let keys = several.iter().filter_map(|schema| schema.get("properties")?.as_object()).flat_map(Map::keys);
            let mut keys: Vec<&str> = keys.map(String::as_str).collect();
            keys.sort_unstable();
            keys.dedup();
            return Err(self.unknown(entry.line, &entry.key, &join(path, &entry.key), advice(&entry.key, keys)));
        }
        Err(self.undecided(node.line, several, path))
    }

    fn undecided(&self, line: usize, several: &[&'a Map<String, Value>], path: &str) -> Error {
        let kinds: Vec<&str> = several.iter().filter_map(|schema| tag(schema)).map(|(_, kind)| kind).collect();
        let mut ways: Vec<String> = Vec::new();
        if let Some((name, _)) = several.iter().find_map(|schema| tag(schema)) {
            ways.push(format!("`{name}: …` ({})", kinds.join(", ")));
        }
        ways.extend(
            several
                .iter()
                .filter(|schema| tag(schema).is_none())
                .flat_map(|schema| required(schema))
                .map(|name| format!("`{name}: …`")),
        );
        Error::Missing {
            at: Place::new(self.file, line),
            within: within(path),
            missing: "key that says what it is".into(),
            advice: format!("add {}", ways.join(" or ")),
        }
    }
}
