//! What a guest writes to files, as far as its disk quota goes. What is over is an error of the guest's: no space is left.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::{
    filesystem::{Descriptor, OpenMode, WasiFilesystemView as _},
    p2::{
        DynOutputStream, FsError, FsResult,
        bindings::filesystem::types::{ErrorCode, HostDescriptor, OpenFlags},
    },
};

use super::writer::{Count, Writer};
use crate::host::Held;

type File = Resource<Descriptor>;

/// No space is left, for this guest.
fn full() -> FsError {
    ErrorCode::InsufficientSpace.into()
}

impl Held {
    /// A file may be made.
    pub(super) fn room_on_disk(&self, open: OpenFlags) -> FsResult<()> {
        if !open.contains(OpenFlags::CREATE) || self.shares.disk.has_room(&self.room) { Ok(()) } else { Err(full()) }
    }

    /// Counts what is written to `file`, which was opened so.
    pub(super) async fn watch(&mut self, file: &File, open: OpenFlags) -> FsResult<()> {
        let Descriptor::File(opened) = self.table.get(file)? else { return Ok(()) };
        if opened.open_mode.contains(OpenMode::WRITE) {
            let (made, emptied) = (open.contains(OpenFlags::CREATE), open.contains(OpenFlags::TRUNCATE));
            let opened = Arc::clone(&opened.file);
            let about = self.blocking(move || opened.metadata()).await.map_err(FsError::trap)?;
            let about = about.map_err(FsError::from)?;
            let writing = self.shares.disk.opened(&about, made, emptied);
            self.writing.insert(file.rep(), Arc::new(writing));
        }
        Ok(())
    }

    fn may_write(&self, file: &File, offset: u64, bytes: usize) -> FsResult<()> {
        let Some(writing) = self.writing.get(&file.rep()) else { return Ok(()) };
        if writing.may_write(Some(offset), bytes as u64, &self.room) { Ok(()) } else { Err(full()) }
    }
}

/// `descriptor.write`.
pub(crate) async fn write(held: &mut Held, file: File, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
    held.may_write(&file, offset, bytes.len())?;
    HostDescriptor::write(held, file, bytes, offset).await
}

/// `descriptor.set-size`.
pub(crate) async fn set_size(held: &mut Held, file: File, size: u64) -> FsResult<()> {
    let writing = held.writing.get(&file.rep()).cloned();
    if writing.as_ref().is_some_and(|writing| !writing.may_end_at(size, &held.room)) {
        return Err(full());
    }
    HostDescriptor::set_size(held, file, size).await?;
    if let Some(writing) = writing {
        writing.ends_at(size);
    }
    Ok(())
}

/// The stream that writes to `file` from `offset` on, or at its end.
pub(crate) fn stream(held: &mut Held, file: &File, offset: Option<u64>) -> FsResult<Resource<DynOutputStream>> {
    let same = Resource::new_borrow(file.rep());
    let stream = match offset {
        Some(offset) => held.filesystem().write_via_stream(same, offset)?,
        None => held.filesystem().append_via_stream(same)?,
    };
    let stream = held.table.delete(stream)?;
    let count =
        held.writing.get(&file.rep()).cloned().map(|writing| Count { writing, offset, room: Arc::clone(&held.room) });
    let writer: DynOutputStream = Box::new(Writer::new(stream, count, held.threads()));
    Ok(held.table.push(writer)?)
}

/// `descriptor.create-directory-at`.
pub(crate) async fn create_directory(held: &mut Held, within: File, path: String) -> FsResult<()> {
    room_for_one(held)?;
    HostDescriptor::create_directory_at(held, Resource::new_borrow(within.rep()), path.clone()).await?;
    held.made(&within, path).await
}

/// `descriptor.symlink-at`.
pub(crate) async fn symlink(held: &mut Held, within: File, to: String, path: String) -> FsResult<()> {
    room_for_one(held)?;
    HostDescriptor::symlink_at(held, Resource::new_borrow(within.rep()), to, path.clone()).await?;
    held.made(&within, path).await
}

fn room_for_one(held: &Held) -> FsResult<()> {
    if held.shares.disk.has_room(&held.room) { Ok(()) } else { Err(full()) }
}
