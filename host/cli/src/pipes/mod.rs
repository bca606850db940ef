//! Standard output and standard error as pipes, whose readers may stop reading without going away.

pub(super) mod stderr;
pub(super) mod stdout;

use std::{io, os::fd::AsFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// How long a reader that was reading is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a pipe that has room takes without a wait: `PIPE_BUF`.
const AT_ONCE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Whether `AT_ONCE` bytes can be written without a wait, within `patience`.
fn has_room(pipe: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut fds = [PollFd::new(pipe, PollFlags::OUT)];
    loop {
        match poll(&mut fds, Some(&patience)) {
            // One that was closed is ready too: writing says what it is.
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
