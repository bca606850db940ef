//! Files of granted directories, where a guest gets less than WASI would give it: regular files and directories alone, so many of them
//! at once ([`open`]), and so many bytes more on the disk ([`disk`], [`write`]). Whatever may take as long as a file system likes is done
//! by threads of the plugin's own ([`threads`], [`imports`]), unless the call has such a thread already.

mod disk;
mod imports;
mod open;
mod read;
mod threads;
mod write;
mod writer;

pub(crate) use self::{
    disk::{Disk, Room, Writing},
    imports::{close, link},
    open::open_at,
    threads::Threads,
    write::{create_directory, set_size, stream, symlink, write},
};
