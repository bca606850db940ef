//! A YAML or JSON text as a tree that knows its lines, read within fixed budgets.

use std::{collections::HashMap, path::Path};

use serde::{Serialize, Serializer};
use serde_json::Number;
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, StrInput, Tag};
use spout_plugin::Setting;

use super::{
    error::{Error, Place},
    test_spec::digits,
};

/// Most bytes of one spec file.
pub const MAX_BYTES: u64 = 1 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 64;
/// What one file may grow to, aliases written out: text bytes, and [`NODE_COST`] for every value.
const MAX_COST: usize = 4 << 20;
const NODE_COST: usize = 16;

/// A value and the line it is on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// First line of the value, counted from 1.
    pub line: usize,
    /// The value.
    pub tree: Tree,
}

/// What can be written in a spec.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, and as it was written.
    Number(Number, String),
    /// A text, quoted or not.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the text; no key twice.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub value: Node,
}

/// The YAML of a tree, without comments.
///
/// # Errors
/// It cannot be written.
pub(super) fn yaml(node: &Node) -> Result<String, Error> {
    serde_saphyr::to_string(node)
        .map_err(|error| Error::Syntax { at: Place::new(Path::new("a new spec"), 0), what: error.to_string() })
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.tree {
            Tree::Null => to.serialize_unit(),
            Tree::Bool(value) => to.serialize_bool(*value),
            Tree::Number(number, _) => number.serialize(to),
            Tree::Text(text) => to.serialize_str(text),
            Tree::List(list) => to.collect_seq(list),
            Tree::Map(entries) => to.collect_map(entries.iter().map(|entry| (&entry.key, &entry.value))),
        }
    }
}

impl Node {
    /// Writes the tree as JSON, keys in the order of the text.
    pub(super) fn write_json(&self, out: &mut String) {
        match &self.tree {
            Tree::Null => out.push_str("null"),
            Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Tree::Number(number, _) => out.push_str(&number.to_string()),
            Tree::Text(text) => write_text(text, out),
            Tree::List(list) => {
                out.push('[');
                for (index, node) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    node.write_json(out);
                }
                out.push(']');
            }
            Tree::Map(entries) => {
                out.push('{');
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(&entry.key, out);
                    out.push(':');
                    entry.value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Makes texts of the numbers whose digits JSON's readers would lose, for values that are compared digit by digit.
    pub(super) fn keep_digits(&mut self) {
        match &mut self.tree {
            Tree::Number(number, text) => {
                if digits(text).is_some_and(|written| digits(&number.to_string()) != Some(written)) {
                    self.tree = Tree::Text(std::mem::take(text));
                }
            }
            Tree::List(list) => list.iter_mut().for_each(Self::keep_digits),
            Tree::Map(entries) => entries.iter_mut().for_each(|entry| entry.value.keep_digits()),
            Tree::Null | Tree::Bool(_) | Tree::Text(_) => {}
        }
    }

    /// The tree of a setting, without lines.
    pub(super) fn of(setting: &Setting) -> Self {
        let tree = match setting {
            Setting::Null => Tree::Null,
            Setting::Bool(value) => Tree::Bool(*value),
            Setting::Number(number) => Tree::Number(number.clone(), number.to_string()),
            Setting::Text(text) => Tree::Text(text.clone()),
            Setting::List(list) => Tree::List(list.iter().map(Self::of).collect()),
            Setting::Map(entries) => Tree::Map(Self::entries(entries.iter().map(|(key, value)| (key, value)))),
        };
        Self { line: 0, tree }
    }

    /// Entries of settings, without lines.
    pub(super) fn entries<'a>(settings: impl Iterator<Item = (&'a String, &'a Setting)>) -> Vec<Entry> {
        settings.map(|(key, value)| Entry { key: key.clone(), line: 0, value: Self::of(value) }).collect()
    }

    /// What this is, for a message: `the text "many"`.
    pub(super) fn describe(&self) -> String {
        match &self.tree {
            Tree::Null => "nothing".into(),
            Tree::Bool(value) => value.to_string(),
            Tree::Number(_, text) => format!("the number {text}"),
            Tree::Text(text) if text.chars().count() > 40 => {
                format!("the string `{}…`", text.chars().take(40).collect::<String>())
            }
            Tree::Text(text) => format!("the string `{text}`"),
            Tree::List(_) => "a list".into(),
            Tree::Map(_) => "a map".into(),
        }
    }

    fn cost(&self) -> usize {
        NODE_COST
            + match &self.tree {
                Tree::Null | Tree::Bool(_) => 0,
                Tree::Number(_, text) | Tree::Text(text) => text.len(),
                Tree::List(list) => list.iter().map(Self::cost).sum(),
                Tree::Map(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.cost()).sum(),
            }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Reads every document of `text`; empty documents are left out.
///
/// # Errors
/// The text is neither YAML nor JSON, names a key twice, or goes over a budget.
pub(super) fn read(text: &str, file: &Path) -> Result<Vec<Node>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    for (line, part) in json_parts(text).unwrap_or_else(|| vec![(0, text.to_owned())]) {
        let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
        let events = Parser::new_from_str_with_options(&part, options);
        let mut reader = Reader { events, file, first_line: line, anchors: HashMap::new(), cost: 0 };
        reader.documents(&mut out)?;
    }
    Ok(out)
}

/// JSON, which may hold several values one after the other, as texts a YAML parser reads the same way, each with the
/// number of lines before it. `None` if it is not JSON.
fn json_parts(text: &str) -> Option<Vec<(usize, String)>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let (mut parts, mut from, mut lines) = (Vec::new(), 0, 0);
    while let Some(value) = values.next() {
        value.ok()?;
        let to = values.byte_offset();
        // Tabs are white space in JSON and never stand inside its texts; YAML does not take them everywhere.
        let part = text.get(from..to)?;
        parts.push((lines, join_surrogates(&part.replace('\t', " "))));
        lines += part.matches('\n').count();
        from = to;
    }
    Some(parts)
}

/// `\ud83d\ude00` is one character in JSON and an error in YAML, which has `\U0001f600` for it.
fn join_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let unit = |from: usize| {
            let hex = escape.get(from..from + 6)?.strip_prefix("\\u")?;
            u32::from_str_radix(hex, 16).ok()
        };
        rest = match (unit(0), unit(6)) {
            (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
                let joined = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                out.push_str(&format!("\\U{joined:08x}"));
                &escape[12..]
            }
            // The backslash and what it escapes go together, so that `\\u` is not taken for an escape.
            _ => {
                let end = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
                out.push_str(&escape[..end]);
                &escape[end..]
            }
        };
    }
    out.push_str(rest);
    out
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    file: &'a Path,
    first_line: usize,
    anchors: HashMap<usize, Node>,
    cost: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Error> {
        loop {
            match self.events.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, self.first_line + span.start.line())),
                Some(Err(error)) => {
                    let line = self.first_line + error.marker().line();
                    return Err(Error::Syntax { at: self.at(line), what: error.info().to_lowercase() });
                }
                None => return Ok((Event::StreamEnd, self.first_line + 1)),
            }
        }
    }

    fn at(&self, line: usize) -> Place {
        Place::new(self.file, line)
    }

    fn documents(&mut self, out: &mut Vec<Node>) -> Result<(), Error> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (event, line) => {
                    let node = self.node(event, line, 0)?;
                    match node.tree {
                        Tree::Null => {}
                        // A list of pipelines reads as so many documents.
                        Tree::List(list) => out.extend(list),
                        _ => out.push(node),
                    }
                    self.anchors.clear();
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Error> {
        if depth > MAX_DEPTH {
            let what = format!("lists and maps are nested deeper than {MAX_DEPTH}");
            return Err(Error::TooMuch { at: self.at(line), what });
        }
        let (anchor, tag, tree) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => (anchor, tag, scalar(&text, style)),
            Event::SequenceStart(_, anchor, tag) => (anchor, tag, self.list(depth)?),
            Event::MappingStart(_, anchor, tag) => (anchor, tag, self.map(depth)?),
            other => {
                let what = format!("a value was expected, found {other:?}");
                return Err(Error::Syntax { at: self.at(line), what });
            }
        };
        let tree = match tag {
            Some(tag) => self.tagged(&tag, tree, line)?,
            None => tree,
        };
        let node = Node { line, tree };
        if matches!(node.tree, Tree::Null | Tree::Bool(_) | Tree::Number(..) | Tree::Text(_)) {
            self.spend(node.cost(), line)?;
        } else {
            self.spend(NODE_COST, line)?;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, Error> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let what = "an alias (`*name`) refers to a value it is part of".into();
            return Err(Error::Syntax { at: self.at(line), what });
        };
        self.spend(node.cost(), line)?;
        Ok(Node { line, ..node })
    }

    /// Charges the budget before the value is kept.
    fn spend(&mut self, cost: usize, line: usize) -> Result<(), Error> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > MAX_COST {
            let what = format!("with its aliases written out, the file is larger than {} MiB", MAX_COST >> 20);
            return Err(Error::TooMuch { at: self.at(line), what });
        }
        Ok(())
    }

    fn tagged(&self, tag: &Tag, tree: Tree, line: usize) -> Result<Tree, Error> {
        match (tag.core_suffix(), tree) {
            (Some("str"), Tree::Number(_, text)) => Ok(Tree::Text(text)),
            (Some("str"), Tree::Bool(value)) => Ok(Tree::Text(value.to_string())),
            (Some("str"), Tree::Null) => Ok(Tree::Text(String::new())),
            (Some(_), tree) => Ok(tree),
            (None, _) => {
                let what =
                    format!("the tag `{}{}` means nothing here; leave it out", tag.original_handle(), tag.suffix());
                Err(Error::Syntax { at: self.at(line), what })
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Error> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Tree::List(list)),
                (event, line) => list.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Tree, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Tree::Map(entries));
            }
            let key = match self.node(event, line, depth + 1)?.tree {
                Tree::Text(text) | Tree::Number(_, text) => text,
                Tree::Bool(value) => value.to_string(),
                Tree::Null => "null".into(),
                Tree::List(_) | Tree::Map(_) => {
                    let what = "a key must be a string, not a list or a map".into();
                    return Err(Error::Syntax { at: self.at(line), what });
                }
            };
            if let Some(first) = lines.insert(key.clone(), line) {
                return Err(Error::TwiceKey { at: self.at(line), key, first });
            }
            let (event, value_line) = self.next()?;
            let value = self.node(event, value_line, depth + 1)?;
            entries.push(Entry { key, line, value });
        }
    }
}

/// A scalar by the rules of YAML 1.2's core schema: only an unquoted one can be other than a text.
fn scalar(text: &str, style: ScalarStyle) -> Tree {
    if style != ScalarStyle::Plain {
        return Tree::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Tree::Null,
        "true" | "True" | "TRUE" => Tree::Bool(true),
        "false" | "False" | "FALSE" => Tree::Bool(false),
        _ => number(text).map_or_else(|| Tree::Text(text.to_owned()), |number| Tree::Number(number, text.to_owned())),
    }
}

fn number(text: &str) -> Option<Number> {
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix).filter(|digits| !digits.starts_with(['+', '-']))?;
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let decimal = || {
        let plain = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
            && digits.contains(|any: char| any.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        let float: f64 = plain.then(|| text.parse().ok()).flatten()?;
        Number::from_f64(float)
    };
    let whole = text.strip_prefix('+').unwrap_or(text);
    whole
        .parse::<u64>()
        .map(Number::from)
        .or_else(|_| whole.parse::<i64>().map(Number::from))
        .ok()
        .or_else(|| radix("0x", 16))
        .or_else(|| radix("0o", 8))
        .or_else(decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        let nodes = read(text, Path::new("s.yaml")).map_err(|error| error.to_string())?;
        let mut out = String::new();
        for node in &nodes {
            node.write_json(&mut out);
            out.push(';');
        }
        Ok(out)
    }

    #[test]
    fn documents_keep_order_and_types() {
        let check = |text: &str, expected: &str| assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
        check("b: 1\na: [x, 'y', \"z\"]\n", r#"{"b":1,"a":["x","y","z"]};"#);
        check("---\na: 1\n---\n---\nb: 2\n...\n", r#"{"a":1};{"b":2};"#);
        check("- {a: 1}\n- {b: 2}\n", r#"{"a":1};{"b":2};"#);
        check(
            "{\n\t\"a\": \"\\ud83d\\ude00 \\\\u\",\n\t\"b\": [1, 2.5, -3, null]\n}\n{\"c\": {}}",
            "{\"a\":\"😀 \\\\u\",\"b\":[1,2.5,-3,null]};{\"c\":{}};",
        );
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let check = |text: &str, expected: &str| {
            assert_eq!(json(&format!("v: {text}")).unwrap(), format!("{{\"v\":{expected}}};"))
        };
        check("0x1F", "31");
        check("0o17", "15");
        check("+12", "12");
        check("1e3", "1000.0");
        check("yes", "\"yes\"");
        check("1_000", "\"1_000\"");
        check(".inf", "\".inf\"");
        check("2026-01-01T00:00:00Z", "\"2026-01-01T00:00:00Z\"");
        check("'5'", "\"5\"");
        check("!!str 5", "\"5\"");
        check("~", "null");
        check("18446744073709551615", "18446744073709551615");
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let nodes = read("{\"a\": 1}\n\n{\n\"b\": 2}", Path::new("s.json")).unwrap();
        let Tree::Map(entries) = &nodes[1].tree else { panic!("a map") };
        assert_eq!((nodes[1].line, entries[0].line), (3, 4));
    }
}
