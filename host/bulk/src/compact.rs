//! A compaction whose files are merged by all members of a fleet. Its leader makes one commit of what they put.

use std::borrow::Cow;

use futures::future::BoxFuture;
use spout_repo::{Error as RepoError, MergePart, MergesParts, Prepared, Store};

use super::{
    error::Error,
    part::Share,
    team::Team,
    words::{Part, Told},
};

/// Bytes of a part, which is one file as it is made, usually; and files that a part makes.
const MOST: (u64, usize) = (64 << 20, 4);

impl MergesParts for Team<'_> {
    type Error = Error;

    fn most(&self) -> (u64, usize) {
        MOST
    }

    fn merge<'a>(&'a self, parts: &'a [MergePart]) -> BoxFuture<'a, Result<Vec<Prepared>, Error>> {
        Box::pin(self.share("compact", parts))
    }
}

impl Share for MergePart {
    type Done = Prepared;

    fn said(&self) -> Part<'_> {
        Part::Merge(Cow::Borrowed(self))
    }

    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn done<'a>(&'a self, told: Told, store: &'a Store) -> BoxFuture<'a, Result<Prepared, String>> {
        Box::pin(async move {
            let Told::Merged(prepared) = told else {
                return Err("it told of something else than a compaction".to_owned());
            };
            self.check(&prepared, store).await?;
            Ok(*prepared)
        })
    }

    fn here<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<Prepared, RepoError>> {
        Box::pin(self.merge(store))
    }
}
