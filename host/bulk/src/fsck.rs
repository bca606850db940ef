//! A check whose bytes are read by all members of a fleet.

use std::borrow::Cow;

use futures::future::BoxFuture;
use spout_repo::{Error as RepoError, ReadDone, ReadPart, ReadsParts, Store};

use super::{
    error::Error,
    part::Share,
    team::Team,
    words::{Part, Told},
};

/// Bytes and runs of bytes of a part: a second or less of work, so that a member that is lost loses little.
pub(super) const MOST: (u64, usize) = (16 << 20, 256);

impl ReadsParts for Team<'_> {
    type Error = Error;

    fn most(&self) -> (u64, usize) {
        self.most_read
    }

    fn read<'a>(&'a self, parts: &'a [ReadPart]) -> BoxFuture<'a, Result<Vec<ReadDone>, Error>> {
        Box::pin(self.share("fsck", parts))
    }
}

impl Share for ReadPart {
    type Done = ReadDone;

    fn said(&self) -> Part<'_> {
        Part::Read(Cow::Borrowed(self))
    }

    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn done<'a>(&'a self, told: Told, _: &'a Store) -> BoxFuture<'a, Result<ReadDone, String>> {
        Box::pin(async move {
            let Told::Read(done) = told else { return Err("it told of something else than a check".to_owned()) };
            done.fits(self)?;
            Ok(done)
        })
    }

    fn here<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<ReadDone, RepoError>> {
        Box::pin(self.read(store))
    }
}
