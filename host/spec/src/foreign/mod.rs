//! Specs of other systems in the words of this one. What has no equal is named, with its line, and never left out silently.

mod pachyderm;
mod pinot;

use std::path::Path;

pub use self::{
    pachyderm::{NATIVE, pachyderm},
    pinot::pinot,
};
use super::{
    document::{self, Entry, Node, Tree},
    error::{Error, Place},
};

/// A spec made of another system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The spec, as YAML.
    pub spec: String,
    /// What it does not say that the original did, in the order of its lines.
    pub remarks: Vec<Remark>,
}

/// A key of the original that the spec has nothing for, or that needs a hand.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Remark {
    /// Its line.
    pub line: usize,
    /// The key with what it is within.
    pub key: String,
    /// What to do about it.
    pub what: String,
}

/// The one document of a foreign spec.
struct Original<'a> {
    file: &'a Path,
    node: Node,
}

impl<'a> Original<'a> {
    fn read(text: &str, file: &'a Path) -> Result<Self, Error> {
        let mut nodes = document::read(text, file)?;
        match (nodes.pop(), nodes.pop()) {
            (Some(node @ Node { tree: Tree::Map(_), .. }), None) => Ok(Self { file, node }),
            (Some(node), before) => Err(Error::WrongValue {
                at: Place::new(file, node.line),
                path: "the document".into(),
                found: if before.is_some() { "one of several".into() } else { node.describe() },
                expected: "expected one map; import one at a time".into(),
            }),
            (None, _) => Err(Error::Empty { path: file.to_owned() }),
        }
    }

    /// The value at a path like `a.b`.
    fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(&self.node, |node, key| match &node.tree {
            Tree::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        })
    }

    /// The text at a path that has to have one.
    fn text(&self, path: &str) -> Result<&str, Error> {
        match self.at(path) {
            Some(Node { tree: Tree::Text(text), .. }) => Ok(text),
            other => Err(Error::WrongValue {
                at: Place::new(self.file, other.unwrap_or(&self.node).line),
                path: path.to_owned(),
                found: other.map_or_else(|| "missing".into(), Node::describe),
                expected: "expected a string".into(),
            }),
        }
    }

    /// Everything that `taken` does not cover, each with what `said` says about it, or that there is no equal.
    fn left(&self, taken: &[&str], said: &[(&str, &str)]) -> Vec<Remark> {
        let mut remarks = Vec::new();
        if let Tree::Map(entries) = &self.node.tree {
            left_of(entries, "", taken, said, &mut remarks);
        }
        remarks
    }
}

fn left_of(entries: &[Entry], within: &str, taken: &[&str], said: &[(&str, &str)], remarks: &mut Vec<Remark>) {
    for Entry { key, line, value } in entries {
        let path = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        let below = |known: &str| known.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if taken.contains(&path.as_str()) {
            continue;
        }
        match (said.iter().find(|(known, _)| *known == path), &value.tree) {
            (Some((_, what)), _) => remarks.push(Remark { line: *line, key: path, what: (*what).to_owned() }),
            (None, Tree::Map(inner))
                if taken.iter().any(|known| below(known)) || said.iter().any(|(k, _)| below(k)) =>
            {
                left_of(inner, &path, taken, said, remarks);
            }
            (None, _) => {
                remarks.push(Remark { line: *line, key: path, what: "has no equal here and is left out".into() });
            }
        }
    }
}

/// A map in the order in which it is given.
fn map(entries: impl IntoIterator<Item = (&'static str, Node)>) -> Node {
    let entry = |(key, value): (&'static str, Node)| Entry { key: key.to_owned(), line: value.line, value };
    Node { line: 0, tree: Tree::Map(entries.into_iter().map(entry).collect()) }
}

fn text(text: impl Into<String>) -> Node {
    Node { line: 0, tree: Tree::Text(text.into()) }
}

/// The YAML of a spec, below a line that says where it comes from and what it lacks.
fn yaml(spec: &Node, from: &str, remarks: &[Remark]) -> Result<String, Error> {
    let mut out = format!("# {from}\n");
    for Remark { line, key, what } in remarks {
        out += &format!("# line {line}: {key} {what}\n");
    }
    Ok(out + &document::yaml(spec)?)
}
