//! The few functions of WASI's files that differ here: those that meet `/pfs/out` of a command, and those that a quota of files holds.
//!
//! Each does for everything else what `wasmtime-wasi` does.

use std::sync::Arc;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView as _},
    p2::{
        DynOutputStream, FsError, FsResult,
        bindings::filesystem::types::{DescriptorFlags, ErrorCode, Host as _, HostDescriptor, OpenFlags, PathFlags},
    },
};

use super::output::Outputs;
use crate::{files, host::Held};

/// The version in which `wasmtime-wasi` links it; what has another name would not take its place.
const FILES: &str = "wasi:filesystem/types@0.2.12";

type Store<'a> = StoreContextMut<'a, Held>;
type File = Resource<Descriptor>;
type Opened = wasmtime::Result<(Result<File, ErrorCode>,)>;
type Streamed = wasmtime::Result<(Result<Resource<DynOutputStream>, ErrorCode>,)>;

/// Puts them in the place of those that are linked already.
pub(crate) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    files::link(linker)?;
    files(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn files(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    let mut files = linker.instance(FILES)?;
    files.resource_async("descriptor", ResourceType::host::<Descriptor>(), |mut store: Store<'_>, rep| {
        Box::new(async move {
            let held = store.data_mut();
            held.writing.remove(&rep);
            if let Some(outputs) = held.outputs.as_mut() {
                outputs.release(rep);
            }
            files::close(held, Resource::new_own(rep)).await?;
            held.file_closed();
            Ok(())
        })
    })?;
    files.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: Store<'_>,
         (within, how, path, open, flags): (File, PathFlags, String, OpenFlags, DescriptorFlags)| {
            Box::new(async move { open_at(store.data_mut(), within, how, path, open, flags).await })
        },
    )?;
    files.func_wrap_async("[method]descriptor.get-flags", |mut store: Store<'_>, (file,): (File,)| {
        Box::new(async move {
            let held = store.data_mut();
            if outputs(held, |outputs| outputs.writer(file.rep())).is_some() {
                return Ok((Ok(DescriptorFlags::WRITE),));
            }
            let flags = HostDescriptor::get_flags(held, file).await;
            settle(held, flags)
        })
    })?;
    files.func_wrap_async(
        "[method]descriptor.write",
        |mut store: Store<'_>, (file, bytes, offset): (File, Vec<u8>, u64)| {
            Box::new(async move {
                let held = store.data_mut();
                let Some(writer) = outputs(held, |outputs| outputs.writer(file.rep())) else {
                    let written = files::write(held, file, bytes, offset).await;
                    return settle(held, written);
                };
                writer.ready().await;
                let count = bytes.len() as u64;
                Ok((writer.write(bytes.into()).map(|()| count).map_err(ErrorCode::from),))
            })
        },
    )?;
    files.func_wrap("[method]descriptor.write-via-stream", |mut store: Store<'_>, (file, offset): (File, u64)| {
        let held = store.data_mut();
        into_output(held, &file, |held| files::stream(held, &file, Some(offset)))
    })?;
    files.func_wrap("[method]descriptor.append-via-stream", |mut store: Store<'_>, (file,): (File,)| {
        let held = store.data_mut();
        into_output(held, &file, |held| files::stream(held, &file, None))
    })?;
    files.func_wrap_async("[method]descriptor.set-size", |mut store: Store<'_>, (file, size): (File, u64)| {
        Box::new(async move {
            let held = store.data_mut();
            let set = files::set_size(held, file, size).await;
            settle(held, set)
        })
    })?;
    files.func_wrap_async(
        "[method]descriptor.create-directory-at",
        |mut store: Store<'_>, (within, path): (File, String)| {
            Box::new(async move {
                let held = store.data_mut();
                let made = files::create_directory(held, within, path).await;
                settle(held, made)
            })
        },
    )?;
    files.func_wrap_async(
        "[method]descriptor.symlink-at",
        |mut store: Store<'_>, (within, to, path): (File, String, String)| {
            Box::new(async move {
                let held = store.data_mut();
                let made = files::symlink(held, within, to, path).await;
                settle(held, made)
            })
        },
    )
}

/// The output is known by the file that stands in its place, so that it may be opened by any path.
async fn open_at(
    held: &mut Held,
    within: File,
    how: PathFlags,
    path: String,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> Opened {
    let writes = flags.contains(DescriptorFlags::WRITE) || open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
    if writes && held.outputs.is_some() {
        let within = Resource::new_borrow(within.rep());
        let looked = files::open_at(held, within, how, path.clone(), OpenFlags::empty(), DescriptorFlags::READ).await;
        if let Ok(file) = looked {
            let opened = match held.table.get(&file)? {
                Descriptor::File(file) => Some(Arc::clone(&file.file)),
                Descriptor::Dir(_) => None,
            };
            let found = match (opened, held.outputs.as_ref().and_then(Outputs::stand_in)) {
                (Some(opened), Some(own)) => held.blocking(move || own.is(&opened)).await?,
                _ => false,
            };
            if found {
                return begin(held, file, open).await;
            }
            files::close(held, file).await?;
            held.file_closed();
        }
    }
    let opened = files::open_at(held, within, how, path, open, flags).await;
    settle(held, opened)
}

/// Makes `file` a handle of the output.
async fn begin(held: &mut Held, file: File, open: OpenFlags) -> Opened {
    let refused = if open.contains(OpenFlags::EXCLUSIVE) {
        Some(ErrorCode::Exist)
    } else if open.contains(OpenFlags::DIRECTORY) {
        Some(ErrorCode::NotDirectory)
    } else {
        None
    };
    let Some(outputs) = held.outputs.as_mut() else { return Ok((Ok(file),)) };
    let begun = match refused {
        Some(code) => Err(code),
        None => outputs.begin().await.map_err(ErrorCode::from),
    };
    match begun {
        Ok(writer) => {
            outputs.hold(file.rep(), writer);
            Ok((Ok(file),))
        }
        Err(code) => {
            files::close(held, file).await?;
            held.file_closed();
            Ok((Err(code),))
        }
    }
}

fn into_output(
    held: &mut Held,
    file: &File,
    otherwise: impl FnOnce(&mut Held) -> FsResult<Resource<DynOutputStream>>,
) -> Streamed {
    match outputs(held, |outputs| outputs.stream(file.rep())) {
        Some(stream) => Ok((Ok(held.table.push(stream)?),)),
        None => {
            let stream = otherwise(held);
            settle(held, stream)
        }
    }
}

fn outputs<T>(held: &Held, look: impl FnOnce(&Outputs) -> Option<T>) -> Option<T> {
    look(held.outputs.as_ref()?)
}

/// An answer of the file system: an error of it is one of the guest's, unless it is a trap.
fn settle<T>(held: &mut Held, answer: Result<T, FsError>) -> wasmtime::Result<(Result<T, ErrorCode>,)> {
    match answer {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(held.filesystem().convert_error_code(error)?),)),
    }
}
