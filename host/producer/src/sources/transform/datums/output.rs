//! One file of the input and the commit that its output goes to, as the plugin sees them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use spout_plugin::{Answer, Overwrite, PfsCommit, PfsInput, PfsWriter, Refused};
use spout_repo::{CommitFiles, FileEntry, path};

use super::{
    super::{
        guest_commit::{GuestCommit, Point},
        plugin::{mode, refused},
    },
    error::PerFileError,
};
use crate::Error;

/// A file of the input.
#[derive(Debug)]
pub(super) struct DatumInput {
    pub(super) files: Arc<CommitFiles>,
    pub(super) file: FileEntry,
}

impl PfsInput for DatumInput {
    fn path(&self) -> &str {
        &self.file.path
    }

    fn size(&self) -> u64 {
        self.file.size
    }

    fn read(&self, start: u64, length: usize) -> Answer<'_, Bytes> {
        Box::pin(async move {
            let range = start..start.saturating_add(length as u64);
            let bytes = self.files.range(&self.file, range).await;
            bytes.map_err(|source| refused(Error::commit("reading the input of", source)))
        })
    }
}

/// The commit that is being made, and whose its files are.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) commit: GuestCommit,
    /// The inputs of the files that were put so far.
    pub(super) owners: BTreeMap<String, String>,
    /// What the commit had before the plugin was given the file.
    pub(super) before: Point,
    /// The file of another input that the plugin tried to put, and that input.
    pub(super) clash: Option<(String, String)>,
}

/// The output while it is lent to the plugin. It comes back when this is dropped.
#[derive(Debug)]
pub(super) struct LentOutput {
    output: Option<Output>,
    home: Arc<Mutex<Option<Output>>>,
}

impl LentOutput {
    /// Lends `output`, which will be back in what is returned too.
    pub(super) fn lend(output: Output) -> (Self, Arc<Mutex<Option<Output>>>) {
        let home = Arc::new(Mutex::new(None));
        (Self { output: Some(output), home: Arc::clone(&home) }, home)
    }

    fn output(&mut self) -> Result<&mut Output, Error> {
        self.output.as_mut().ok_or(Error::SpoutOver)
    }

    /// The output, if it may put a file at `path`.
    fn to(&mut self, path: &str) -> Result<&mut GuestCommit, Error> {
        let path = path::file_path(path).map_err(|source| Error::commit("putting a file into", source))?;
        let output = self.output()?;
        if let Some(other) = output.owners.get(&path) {
            output.clash = Some((path.clone(), other.clone()));
            return Err(PerFileError::Shared { path, other: other.clone() }.into());
        }
        Ok(&mut output.commit)
    }
}

impl Drop for LentOutput {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.output.take();
    }
}

/// What only a spout that drives itself can do.
fn not_a_spout(what: &'static str) -> Refused {
    refused(PerFileError::NotASpout { what }.into())
}

impl PfsCommit for LentOutput {
    fn put_file<'a>(&'a mut self, path: &'a str, how: Overwrite, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let to = self.to(path).map_err(refused)?;
            to.put_file(path, mode(how), &bytes[..]).await.map(drop).map_err(refused)
        })
    }

    fn open_file(&mut self, path: &str, how: Overwrite) -> Result<Box<dyn PfsWriter>, Refused> {
        let to = self.to(path).map_err(refused)?;
        Ok(Box::new(to.open_file(path, mode(how)).map_err(refused)?))
    }

    fn put_batch<'a>(&'a mut self, path: Option<&'a str>, how: Overwrite, rows: RecordBatch) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(path) = path else { return Err(not_a_spout("put rows of the pipeline; put them as a file")) };
            let to = self.to(path).map_err(refused)?;
            to.put_table(path, mode(how), &rows).await.map_err(refused)
        })
    }

    fn delete_file<'a>(&'a mut self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let output = self.output().map_err(refused)?;
            output.commit.take_back(path, output.before).await.map_err(refused)
        })
    }

    fn set_marker(&mut self, _: Vec<u8>) -> Result<(), Refused> {
        Err(not_a_spout("set a marker"))
    }

    fn finish(self: Box<Self>) -> Answer<'static, String> {
        Box::pin(async { Err(not_a_spout("finish the commit")) })
    }
}
