//! What reading needs in addition to the plan: choices, and fields that have no column.

use crate::{
    Coerce,
    budget::Budget,
    json::settings::Duplicates,
    time::Day,
    unknown::{Counter, Unknown},
};

/// What reading needs in addition to the plan.
#[derive(Debug)]
pub(in crate::json) struct Aside {
    /// Number of the current message, counted from one over all calls.
    pub(in crate::json) message: u64,
    pub(super) coerce: Coerce,
    pub(in crate::json) duplicates: Duplicates,
    pub(super) unknown: Unknown,
    /// Fields outside the schema.
    pub(super) counter: Counter,
    /// The column that captures them.
    pub(super) capture: Option<usize>,
    /// Those of the current message, as JSON.
    pub(super) captured: Vec<u8>,
    /// The current path as JSON text, each name with its dot; only kept if unknown fields are captured.
    pub(super) path: Vec<u8>,
    /// Strings with their escapes resolved.
    pub(super) room: Vec<u8>,
    /// The day of the last time read.
    pub(super) day: Day,
    /// What the columns of one call may take, and the values that items of lists stand for.
    pub(super) budget: Budget,
    pub(super) values: usize,
}

impl Aside {
    /// Captures a field outside the schema, if configured.
    pub(super) fn capture(&mut self, key: &[u8], value: &[u8]) {
        if self.capture.is_some() {
            self.captured.extend_from_slice(if self.captured.is_empty() { b"{\"" } else { b",\"" });
            self.captured.extend_from_slice(&self.path);
            write_name(key, &mut self.captured);
            self.captured.extend_from_slice(b"\":");
            self.captured.extend_from_slice(value);
        }
    }

    /// Enters a field or item; returns the previous path.
    pub(super) fn descend(&mut self, into: &[u8], item: Option<usize>) -> usize {
        let before = self.path.len();
        if self.capture.is_some() {
            match item {
                None => write_name(into, &mut self.path),
                Some(index) => {
                    self.path.pop();
                    self.path.extend_from_slice(format!("[{index}]").as_bytes());
                }
            }
            self.path.push(b'.');
        }
        before
    }

    /// Restores the previous path.
    pub(super) fn ascend(&mut self, before: usize) {
        self.path.truncate(before);
        if let Some(dot) = self.path.last_mut() {
            *dot = b'.';
        }
    }
}

/// Writes a name, as JSON has it, into a path: a dot, bracket or backslash of its own gets a backslash, so that no two paths are
/// the same.
fn write_name(name: &[u8], to: &mut Vec<u8>) {
    let mut rest = name;
    loop {
        rest = match rest {
            [b'\\', b'\\', after @ ..] => {
                to.extend_from_slice(br"\\\\");
                after
            }
            [b'\\', other, after @ ..] => {
                to.extend_from_slice(&[b'\\', *other]);
                after
            }
            [own @ (b'.' | b'['), after @ ..] => {
                to.extend_from_slice(&[b'\\', b'\\', *own]);
                after
            }
            [other, after @ ..] => {
                to.push(*other);
                after
            }
            [] => return,
        };
    }
}
