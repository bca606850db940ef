//! Which version of the format a store is of: it says so itself, in an object for each version it has been of.
//!
//! Each object in a store has a version of its own, which says how to read that object. The version of the store says more: that
//! nothing in it is newer. So a host that knows less is turned away at the door, before it reads half of what is there, and an upgrade
//! has one moment at which it counts.
//!
//! **Invariant**: versions are only added. The highest counts, so one who wrote late takes nothing back.

use object_store::path::Path;
use serde::Serialize;
use spout_base::clock;

use super::store::Store;
use crate::{
    error::Error,
    layout::Layout,
    log::{VERSION, seal},
    object::{Created, Objects, Step},
};

/// The version of a store that does not say one: it was made before versions were written down.
pub(crate) const UNMARKED: u32 = 0;

/// What the object of a version says, for people: its name is all that is read.
#[derive(Debug, Serialize)]
struct Marked {
    version: u32,
    /// The build that wrote it.
    spout: &'static str,
    at_ms: i64,
    checksum: String,
}

/// The version that a store says it is of, whether or not this build knows it.
pub(crate) async fn found(objects: &Objects) -> Result<u32, Error> {
    let names = objects.names(&Layout::versions()).await?;
    let newest = names.iter().filter_map(|name| Layout::sequence(&Path::from(name.as_str()))).max();
    Ok(newest.map_or(UNMARKED, |newest| u32::try_from(newest).unwrap_or(u32::MAX)))
}

/// The version of a store, which this build has to know.
///
/// # Errors
/// [`Error::NewerStore`], or what reading can end with.
pub(crate) async fn known(objects: &Objects) -> Result<u32, Error> {
    let found = found(objects).await?;
    if found > VERSION {
        Err(Error::NewerStore { store: objects.url().to_owned(), found, known: VERSION })
    } else {
        Ok(found)
    }
}

/// Writes down that the store is of `version` from here on.
pub(crate) async fn mark(objects: &Objects, version: u32) -> Result<(), Error> {
    let path = Layout::version(version);
    let object = objects.shown(&path);
    let marked = Marked { version, spout: env!("CARGO_PKG_VERSION"), at_ms: clock::wall_ms(), checksum: String::new() };
    let (bytes, _) = seal::seal(&object, &marked)?;
    match objects.create(Step::Version, &path, bytes).await? {
        // Another host that does the same at this moment says the same.
        Created::Ours | Created::Others => Ok(()),
        Created::Nothing(source) => Err(Error::write(object, source)),
        Created::Unknown(source) => Err(Error::Unconfirmed { object, source: source.into() }),
    }
}

/// Writes down that a store is of the newest version, where it holds nothing yet.
pub(super) async fn begin(objects: &Objects) -> Result<(), Error> {
    if objects.directories(&Layout::repos()).await?.is_empty() { mark(objects, VERSION).await } else { Ok(()) }
}

impl Store {
    /// The version of the format that it is of; 0 where it does not say one.
    ///
    /// # Errors
    /// What reading can end with.
    pub async fn version(&self) -> Result<u32, Error> {
        found(self.objects()).await
    }
}
