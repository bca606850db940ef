//! A source that drives itself, and its output repo.

mod commit;
pub(crate) mod host;
pub(crate) mod repo;

use std::{fmt, rc::Rc};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use self::commit::{Commit, Mode, Writer};
use self::repo::Repo;
use crate::Result;

/// A source that drives itself: it decides what belongs into a commit, and when one is made.
///
/// A spec has it as `transform` instead of a `producer`: `transform: {plugin: counter, settings: {upto: 1000}}`. After a crash or
/// a restart it is run again, with what is committed unchanged and what was not finished gone. One that continues where
/// [`Pfs::marker`] says, and sets the marker in the commit that has the data, commits everything exactly once:
///
/// ```
/// use spout_guest::{Pfs, Result, Spout, draining, register};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Settings { upto: u64 }
///
/// struct Counter;
///
/// impl Spout for Counter {
///     type Settings = Settings;
///
///     fn run(settings: Settings, pfs: &Pfs) -> Result<()> {
///         let mut next = pfs.marker().and_then(|marker| String::from_utf8(marker).ok()?.parse().ok()).unwrap_or(0);
///         while next < settings.upto && !draining() {
///             let mut commit = pfs.begin()?;
///             commit.append("/numbers.txt", format!("{next}\n"))?;
///             next += 1;
///             commit.set_marker(next.to_string())?;
///             commit.finish()?;
///         }
///         Ok(())
///     }
/// }
///
/// register! { name: "counter", summary: "a number in each commit", spout: Counter }
///
/// let repo = spout_guest::testing::Repo::default();
/// Counter::run(Settings { upto: 3 }, &repo.pfs())?;
/// assert_eq!((repo.read("/numbers.txt").as_deref(), repo.commits()), (Some(&b"0\n1\n2\n"[..]), 3));
/// # Ok::<(), spout_guest::Error>(())
/// ```
pub trait Spout: 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;

    /// Runs until there is nothing more to produce, or [`draining`](crate::draining) is true; wait with
    /// [`pause`](crate::pause). It has all the time it wants: only one that computes for `limits.call` without a call to the host
    /// is ended.
    ///
    /// # Errors
    /// [`Error::retriable`](crate::Error::retriable) where it is to be run again after a pause; other errors stop the pipeline.
    fn run(settings: Self::Settings, pfs: &Pfs) -> Result<()>;
}

/// The output repo of a spout: what it commits, and what it has committed.
#[derive(Clone)]
pub struct Pfs(Rc<dyn Repo>);

/// A file of the newest commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PfsFile {
    /// Path in the repo.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes; for a file that grew by several puts, of the hashes of what each added.
    pub sha256: String,
    /// For a table.
    pub rows: Option<u64>,
}

/// Files and bytes fetched at once.
const PAGE: u32 = 1000;
const PIECE: u32 = 1 << 20;

impl Pfs {
    pub(crate) fn new(repo: impl Repo + 'static) -> Self {
        Self(Rc::new(repo))
    }

    /// The marker that the newest finished commit left: where to continue. `None` before the first.
    #[must_use]
    pub fn marker(&self) -> Option<Vec<u8>> {
        self.0.marker()
    }

    /// Begins a commit. Several may be open at once, a thousand at most; they come in the order in which they are finished.
    ///
    /// # Errors
    /// Too many are open.
    pub fn begin(&self) -> Result<Commit> {
        self.0.begin().map(Commit::new)
    }

    /// The files of the newest commit below a directory; `/` for all.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self, below: &str) -> Result<Vec<PfsFile>> {
        let mut files: Vec<PfsFile> = Vec::new();
        loop {
            let more = self.0.list(below, files.last().map(|file| file.path.as_str()), PAGE)?;
            if more.is_empty() {
                return Ok(files);
            }
            files.extend(more);
        }
    }

    /// A file of the newest commit, if it is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn inspect(&self, path: &str) -> Result<Option<PfsFile>> {
        self.0.inspect(path)
    }

    /// All bytes of a file of the newest commit.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let more = self.read_at(path, bytes.len() as u64, PIECE)?;
            if more.is_empty() {
                return Ok(bytes);
            }
            bytes.extend(more);
        }
    }

    /// Bytes of a file from `start` on: at most `length`, and at most a mebibyte; none at its end.
    ///
    /// # Errors
    /// As for [`Pfs::read`].
    pub fn read_at(&self, path: &str, start: u64, length: u32) -> Result<Vec<u8>> {
        self.0.read(path, start, length)
    }
}

impl fmt::Debug for Pfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pfs")
    }
}

#[doc(hidden)]
pub mod shim {
    //! Adapts the WIT interface to the trait.

    use std::marker::PhantomData;

    use super::{Pfs, Spout, host::Host};
    use crate::{
        decoder::shim::texts,
        parse_settings,
        register::{self, Offers, named},
        wit::{
            base::{exports::spout::plugin::about::Offer, spout::plugin::types as wit},
            spout::exports::spout::plugin::spout as export,
        },
    };

    /// How to run a spout.
    pub type Open = fn(&wit::Settings, &Pfs) -> crate::Result<()>;

    #[must_use]
    pub const fn open<S: Spout>() -> Open {
        |list, pfs| S::run(parse_settings(texts(list))?, pfs)
    }

    #[must_use]
    pub fn offer<S: Spout>(name: &str, summary: &str) -> Offer {
        register::offer::<S::Settings>("spout", name, summary)
    }

    #[derive(Debug)]
    pub struct Shim<P>(PhantomData<P>);

    impl<P: Offers<Open>> export::Guest for Shim<P> {
        fn run(name: String, list: wit::Settings) -> Result<(), wit::Error> {
            Ok(named(P::OFFERS, &name)?(&list, &Pfs::new(Host))?)
        }
    }
}
