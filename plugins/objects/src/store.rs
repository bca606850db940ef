//! Where objects are.

use std::{collections::VecDeque, fmt, time::Duration};

use spout_guest::{Error, Result};

use crate::{
    listing::{New, Object},
    place::Place,
};

/// Bytes of an object that are asked for at once.
pub(crate) const CHUNK: u64 = 2 << 20;
/// How long a list of all objects may take.
pub(crate) const LISTING: Duration = Duration::from_secs(4);

/// A bucket, or a directory.
pub(crate) trait Store: fmt::Debug + 'static {
    /// A fetch begins, which all requests of it have to share.
    fn begin(&mut self, time: Duration);

    /// Some of the objects that were not read, in their order; it moves `place` over those that do not count.
    fn look(&mut self, place: &mut Place) -> Result<VecDeque<New>>;

    /// Whether there is something that will be an object soon.
    fn is_waiting(&self) -> bool {
        false
    }

    /// `place` after this object was read.
    fn passed(&self, place: Place, object: &Object) -> Place;

    /// Bytes of an object from `from` on: a chunk, or what is left.
    fn read(&mut self, object: &Object, from: u64) -> std::result::Result<Vec<u8>, Failed>;
}

/// Why there is nothing of an object.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It is not there any more, or is another one.
    Gone,
    Other(Error),
}
