//! Files of granted directories, where a guest gets less than WASI would give it: regular files and directories alone, so many of them
//! at once ([`open`]), and so many bytes more on the disk ([`disk`], [`write`]).

mod disk;
mod open;
mod write;

pub(crate) use self::{
    disk::{Disk, Room, Writing},
    open::open_at,
    write::{create_directory, set_size, stream, symlink, write},
};
