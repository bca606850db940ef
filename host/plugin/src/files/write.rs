//! What a guest writes to files, as far as its disk quota goes. What is over is an error of the guest's: no space is left.

use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    filesystem::{Descriptor, OpenMode, WasiFilesystemView as _},
    p2::{
        DynOutputStream, FsError, FsResult, OutputStream, Pollable, StreamError, StreamResult,
        bindings::filesystem::types::{ErrorCode, HostDescriptor as _, OpenFlags},
    },
};

use super::disk::{Room, Writing};
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
    pub(super) fn watch(&mut self, file: &File, open: OpenFlags) -> FsResult<()> {
        let Descriptor::File(opened) = self.table.get(file)? else { return Ok(()) };
        if opened.open_mode.contains(OpenMode::WRITE) {
            let (made, emptied) = (open.contains(OpenFlags::CREATE), open.contains(OpenFlags::TRUNCATE));
            let about = opened.file.metadata().map_err(FsError::from)?;
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
    held.filesystem().write(file, bytes, offset).await
}

/// `descriptor.set-size`.
pub(crate) async fn set_size(held: &mut Held, file: File, size: u64) -> FsResult<()> {
    let writing = held.writing.get(&file.rep()).cloned();
    if writing.as_ref().is_some_and(|writing| !writing.may_end_at(size, &held.room)) {
        return Err(full());
    }
    held.filesystem().set_size(file, size).await?;
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
    let Some(writing) = held.writing.get(&file.rep()).cloned() else { return Ok(stream) };
    let stream = held.table.delete(stream)?;
    let counted: DynOutputStream = Box::new(Counted { stream, writing, offset, room: Arc::clone(&held.room) });
    Ok(held.table.push(counted)?)
}

/// `descriptor.create-directory-at`.
pub(crate) async fn create_directory(held: &mut Held, within: File, path: String) -> FsResult<()> {
    room_for_one(held)?;
    held.filesystem().create_directory_at(Resource::new_borrow(within.rep()), path.clone()).await?;
    held.made(&within, &path)
}

/// `descriptor.symlink-at`.
pub(crate) async fn symlink(held: &mut Held, within: File, to: String, path: String) -> FsResult<()> {
    room_for_one(held)?;
    held.filesystem().symlink_at(Resource::new_borrow(within.rep()), to, path.clone()).await?;
    held.made(&within, &path)
}

fn room_for_one(held: &Held) -> FsResult<()> {
    if held.shares.disk.has_room(&held.room) { Ok(()) } else { Err(full()) }
}

/// A stream into a file, as far as there is room for it.
struct Counted {
    stream: DynOutputStream,
    writing: Arc<Writing>,
    /// Where the next bytes go; nothing for the end.
    offset: Option<u64>,
    room: Arc<Room>,
}

impl Counted {
    fn count(&mut self, bytes: &Bytes) -> StreamResult<()> {
        let size = bytes.len() as u64;
        if !self.writing.may_write(self.offset, size, &self.room) {
            return Err(StreamError::LastOperationFailed(std::io::Error::from(Errno::NOSPC).into()));
        }
        self.offset = self.offset.map(|offset| offset.saturating_add(size));
        Ok(())
    }
}

#[async_trait::async_trait]
impl OutputStream for Counted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(&bytes)?;
        self.stream.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(&bytes)?;
        self.stream.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait::async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}
