//! Schemas kept in a directory of the user's: an id means the same for ever, so that what was fetched once need not be again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use spout_base::{bounded, clock};

use super::{frame::SchemaId, schemas::Registration};

/// Most bytes of a kept schema.
const MOST: u64 = 32 << 20;

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Kept(PathBuf);

impl Kept {
    pub(super) fn at(dir: PathBuf) -> Self {
        Self(dir)
    }

    fn path(&self, id: SchemaId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// The schema of `id`, if it is kept and sound.
    pub(super) fn read(&self, id: SchemaId) -> Option<Registration> {
        let bytes = bounded::read_regular(&self.path(id), MOST).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps the schema of `id`; others see all of it or nothing.
    pub(super) fn write(&self, id: SchemaId, schema: &Registration) {
        if let Err(error) = self.put(&self.path(id), schema) {
            tracing::warn!("cannot keep schema {id} in {}: {error}; it will be fetched again", self.0.display());
        }
    }

    fn put(&self, path: &Path, schema: &Registration) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let beside = self.0.join(format!(".{}", clock::nonce()));
        let written = fs::write(&beside, serde_json::to_vec(schema)?).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            // It may not even be there.
            drop(fs::remove_file(&beside));
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::{super::schemas::Format, *};

    #[test]
    fn what_is_kept_is_found_again_and_what_is_broken_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::at(dir.path().join("below/schemas"));
        let schema = Registration { format: Format::Json, schema: "{}".into(), references: Vec::new() };
        assert_eq!(kept.read(SchemaId::Number(7)), None);
        kept.write(SchemaId::Number(7), &schema);
        assert_eq!(kept.read(SchemaId::Number(7)), Some(schema.clone()));
        let files = fs::read_dir(dir.path().join("below/schemas")).unwrap().count();
        assert_eq!(files, 1);
        fs::write(kept.path(SchemaId::Number(7)), "{").unwrap();
        assert_eq!(kept.read(SchemaId::Number(7)), None);
        fs::write(dir.path().join("file"), "").unwrap();
        Kept::at(dir.path().join("file/no")).write(SchemaId::Number(1), &schema);
    }
}
