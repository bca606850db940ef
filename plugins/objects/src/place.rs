//! Where reading goes on: which objects were read, and how far the one that is being read.

use serde::{Deserialize, Serialize};
use spout_guest::Fnv;

use crate::listing::Object;

/// What a position's token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Place {
    /// By name: objects up to this name were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// By time: the newest object that was read is of this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newest: Option<u64>,
    /// By time: time and hash of the objects that were read, as far back as one may appear late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) seen: Vec<(u64, u64)>,
    /// In a directory, by name: the time of the newest file that was read, and a hash of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upto: Option<(u64, u64)>,
    /// The object that is being read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) within: Option<Within>,
}

/// A place within an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) modified: u64,
    pub(crate) size: u64,
    /// Bytes that were read of it, unpacked.
    pub(crate) at: u64,
}

impl Within {
    pub(crate) fn new(object: Object) -> Self {
        let Object { key, modified, etag, size } = object;
        Self { key, etag, modified, size, at: 0 }
    }

    pub(crate) fn object(&self) -> Object {
        Object { key: self.key.clone(), modified: self.modified, etag: self.etag.clone(), size: self.size }
    }
}

impl Place {
    /// By time: whether an object was not read yet, and is not older than what may appear late.
    pub(crate) fn is_new(&self, object: &Object, window: u64) -> bool {
        object.modified >= self.oldest(window) && !self.seen.contains(&mark(object))
    }

    /// By time: the oldest that may appear late.
    pub(crate) fn oldest(&self, window: u64) -> u64 {
        self.newest.map_or(0, |newest| newest.saturating_sub(window))
    }

    /// By name: the same after an object was read.
    pub(crate) fn after(mut self, object: &Object) -> Self {
        self.within = None;
        self.after = Some(object.key.clone());
        self
    }

    /// By time: the same after an object was read.
    pub(crate) fn marked(mut self, object: &Object, window: u64) -> Self {
        self.within = None;
        self.newest = Some(self.newest.unwrap_or(0).max(object.modified));
        self.seen.push(mark(object));
        let from = self.oldest(window);
        self.seen.retain(|(modified, _)| *modified >= from);
        self
    }
}

/// What an object is known by: its time, and a hash of its name and version.
fn mark(object: &Object) -> (u64, u64) {
    let hash = Fnv::default().and(object.key.bytes().chain([0xff])).and(object.etag.bytes());
    (object.modified, hash.0)
}
