//! Every function of WASI's files: as `wasmtime-wasi` does it, on a thread of the plugin's own.

use std::future::Future;

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView as _},
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult, ReaddirIterator,
        bindings::filesystem::types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, Host,
            HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
};

use super::{read::Reader, threads::Threads};
use crate::host::Held;

type File = Resource<Descriptor>;
type Entries = Resource<ReaddirIterator>;

/// Puts them in the place of those that are linked already.
pub(crate) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)
}

/// What `call` comes to, whose blocking work is done by one of `threads`; without them, by the one that runs it.
pub(crate) async fn away<F: Future>(threads: Option<Threads>, call: F) -> F::Output {
    match threads {
        Some(threads) => threads.run(call).await,
        None => call.await,
    }
}

/// Closes `file`.
pub(crate) async fn close(held: &mut Held, file: File) -> wasmtime::Result<()> {
    let file = held.table.delete(file)?;
    match held.threads() {
        Some(threads) => threads.block(move || drop(file)).await?,
        None => drop(file),
    }
    Ok(())
}

macro_rules! away {
    ($($call:ident($($given:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $call(&mut self, $($given: $type),*) -> $answer {
            let threads = self.threads();
            away(threads, self.filesystem().$call($($given),*)).await
        })*
    };
}

impl Host for Held {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.filesystem().convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.filesystem().filesystem_error_code(error)
    }
}

impl HostDescriptor for Held {
    away! {
        advise(file: File, offset: u64, size: u64, advice: Advice) -> FsResult<()>;
        sync_data(file: File) -> FsResult<()>;
        get_flags(file: File) -> FsResult<DescriptorFlags>;
        get_type(file: File) -> FsResult<DescriptorType>;
        set_size(file: File, size: u64) -> FsResult<()>;
        set_times(file: File, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()>;
        read(file: File, size: u64, offset: u64) -> FsResult<(Vec<u8>, bool)>;
        write(file: File, bytes: Vec<u8>, offset: u64) -> FsResult<u64>;
        read_directory(dir: File) -> FsResult<Entries>;
        sync(file: File) -> FsResult<()>;
        create_directory_at(dir: File, path: String) -> FsResult<()>;
        stat(file: File) -> FsResult<DescriptorStat>;
        stat_at(dir: File, how: PathFlags, path: String) -> FsResult<DescriptorStat>;
        set_times_at(
            dir: File,
            how: PathFlags,
            path: String,
            accessed: NewTimestamp,
            modified: NewTimestamp
        ) -> FsResult<()>;
        link_at(dir: File, how: PathFlags, path: String, to: File, as_path: String) -> FsResult<()>;
        open_at(
            dir: File,
            how: PathFlags,
            path: String,
            open: OpenFlags,
            flags: DescriptorFlags
        ) -> FsResult<File>;
        readlink_at(dir: File, path: String) -> FsResult<String>;
        remove_directory_at(dir: File, path: String) -> FsResult<()>;
        rename_at(dir: File, path: String, to: File, to_path: String) -> FsResult<()>;
        symlink_at(dir: File, to: String, path: String) -> FsResult<()>;
        unlink_file_at(dir: File, path: String) -> FsResult<()>;
        is_same_object(one: File, other: File) -> wasmtime::Result<bool>;
        metadata_hash(file: File) -> FsResult<MetadataHashValue>;
        metadata_hash_at(dir: File, how: PathFlags, path: String) -> FsResult<MetadataHashValue>;
    }

    fn read_via_stream(&mut self, file: File, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let stream = self.filesystem().read_via_stream(file, offset)?;
        let stream = self.table.delete(stream)?;
        let reader: DynInputStream = Box::new(Reader::new(stream, self.threads()));
        Ok(self.table.push(reader)?)
    }

    fn write_via_stream(&mut self, file: File, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        super::stream(self, &file, Some(offset))
    }

    fn append_via_stream(&mut self, file: File) -> FsResult<Resource<DynOutputStream>> {
        super::stream(self, &file, None)
    }

    fn drop(&mut self, file: File) -> wasmtime::Result<()> {
        self.table.delete(file)?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for Held {
    async fn read_directory_entry(&mut self, entries: Entries) -> FsResult<Option<DirectoryEntry>> {
        self.filesystem().read_directory_entry(entries).await
    }

    fn drop(&mut self, entries: Entries) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.filesystem(), entries)
    }
}
