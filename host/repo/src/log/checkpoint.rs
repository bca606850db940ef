//! Checkpoints: a branch after one of its records, so that nothing before has to be read. Made from records, and never
//! believed over them: one that is damaged costs time, nothing else.

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{base::Base, holder::Holder, index::Segment, seal};
use crate::{
    error::Error,
    layout::Layout,
    object::{Created, Objects, Step},
    path::stored,
};

/// A branch after the record of `sequence`, so that nothing before has to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) version: u32,
    pub(crate) repo: String,
    pub(crate) branch: String,
    #[serde(deserialize_with = "stored::count")]
    pub(crate) sequence: u64,
    #[serde(deserialize_with = "stored::count")]
    pub(crate) epoch: u64,
    /// Checksum of the record of `sequence`.
    pub(crate) record: String,
    /// The pipeline that owns the branch, if one does.
    pub(crate) owner: String,
    /// The writer that claimed it last.
    pub(crate) holder: Option<Holder>,
    pub(crate) deleted: bool,
    pub(crate) base: Option<Base>,
    /// Where history began when the index that this one builds on was rewritten. Pages of an older one may still refer to
    /// files that were gone by a later boundary, so that a collection replaces it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) floor: u64,
    pub(crate) checksum: String,
}

impl Checkpoint {
    /// Makes it durable, and the one that is tried first.
    pub(crate) async fn write(&self, objects: &Objects, layout: &Layout) -> Result<(), Error> {
        let path = layout.checkpoint(&self.branch, self.sequence);
        let object = objects.shown(&path);
        let (bytes, _) = seal::seal(&object, self)?;
        match objects.create(Step::Checkpoint, &path, bytes).await? {
            // Another's of the same sequence says the same by other segments.
            Created::Ours | Created::Others => {}
            Created::Nothing(source) => return Err(Error::write(object, source)),
            Created::Unknown(source) => return Err(Error::Unconfirmed { object, source: source.into() }),
        }
        let hint = self.sequence.to_string();
        objects.overwrite(Step::Hint, &layout.hint(&self.branch), hint.into()).await
    }

    /// The segments it needs.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.base.iter().flat_map(Base::segments)
    }
}

fn is_none(floor: &u64) -> bool {
    *floor == 0
}

/// The checkpoint that the hint names, if it can be read.
pub(crate) async fn hinted(objects: &Objects, layout: &Layout, branch: &str) -> Result<Option<Checkpoint>, Error> {
    let Some(hint) = objects.find(&layout.hint(branch)).await? else { return Ok(None) };
    let sequence = std::str::from_utf8(&hint).ok().and_then(|text| text.trim().parse().ok());
    let Some(sequence) = sequence else { return Ok(None) };
    read(objects, layout, branch, &layout.checkpoint(branch, sequence), sequence).await
}

/// The newest checkpoint at or before `upto` that can be read. One that is damaged costs time, nothing else.
pub(crate) async fn newest(
    objects: &Objects,
    layout: &Layout,
    branch: &str,
    upto: u64,
) -> Result<Option<Checkpoint>, Error> {
    let mut places = Vec::new();
    for directory in [layout.checkpoints(branch), layout.boundaries(branch)] {
        for (path, _) in objects.list(&directory).await? {
            places
                .extend(Layout::sequence(&path).filter(|&sequence| sequence <= upto).map(|sequence| (sequence, path)));
        }
    }
    places.sort_unstable();
    while let Some((sequence, path)) = places.pop() {
        if let Some(checkpoint) = read(objects, layout, branch, &path, sequence).await? {
            return Ok(Some(checkpoint));
        }
    }
    Ok(None)
}

async fn read(
    objects: &Objects,
    layout: &Layout,
    branch: &str,
    path: &Path,
    sequence: u64,
) -> Result<Option<Checkpoint>, Error> {
    let Some(bytes) = objects.find(path).await? else { return Ok(None) };
    let object = objects.shown(path);
    let checkpoint = seal::read::<Checkpoint>(&object, &bytes).and_then(|checkpoint| {
        if (checkpoint.branch.as_str(), checkpoint.sequence) == (branch, sequence) {
            Ok(checkpoint)
        } else {
            Err(Error::BadRecord { object: object.clone(), reason: "it belongs to another branch".to_owned() })
        }
    });
    match checkpoint {
        Ok(checkpoint) if intact(objects, layout, &checkpoint).await? => Ok(Some(checkpoint)),
        Ok(_) => Ok(None),
        Err(error @ Error::NewerFormat { .. }) => Err(error),
        Err(error) => {
            tracing::warn!(code = spout_base::error::Coded::code(&error), "{error}; starting from an earlier one");
            Ok(None)
        }
    }
}

/// Whether every segment that a checkpoint names is there, in its full length.
async fn intact(objects: &Objects, layout: &Layout, checkpoint: &Checkpoint) -> Result<bool, Error> {
    let sizes = checkpoint.segments().map(|segment| async move {
        let path = layout.object(&segment.object);
        let there = objects.size(&path).await? == Some(segment.size);
        if !there {
            tracing::warn!("checkpoint {} needs {}, which is damaged", checkpoint.sequence, objects.shown(&path));
        }
        Ok::<_, Error>(there)
    });
    Ok(futures::future::try_join_all(sizes).await?.into_iter().all(|there| there))
}
