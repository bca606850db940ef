//! Files that are read whole, as far as they are what they should be: never more than a limit, and never waiting for a writer.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};

/// How long bytes of a pipe are waited for: whoever writes it may be starting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a file of at most `most` bytes, whatever kind of file it is. What does not come for a while does not come.
///
/// # Errors
/// It cannot be read, has more, or is a pipe that nobody writes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

/// The same of a regular file: a pipe or a device that has its name is an error at once.
///
/// # Errors
/// It cannot be read, has more, or is no regular file.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    whole(file, most)
}

/// Bytes that were read, as text.
///
/// # Errors
/// They are not UTF-8.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Opens it without waiting for whoever may be at its other end.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

fn read_within(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Somebody who types may take as long as they like.
    let waits = !file.metadata()?.is_file() && !file.is_terminal();
    whole(Patient { file, patience: waits.then_some(patience) }, most)
}

/// A file that is read without blocking, by whoever waits so long for it.
struct Patient {
    file: File,
    /// For ever without it.
    patience: Option<Duration>,
}

impl io::Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let patience = self.patience.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        // Before anybody has opened it to write, a pipe is not at its end: that is waited for, too.
        if poll(&mut [PollFd::new(&self.file, PollFlags::IN)], patience.as_ref())? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it is a pipe or a device that nothing comes from"));
        }
        self.file.read(buffer)
    }
}

fn whole(file: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let what = format!("it has more than the {most} bytes it may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn no_file_is_larger_than_it_may_be_and_no_pipe_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"12345").unwrap();
        for read in [read, read_regular] {
            assert_eq!(read(&path, 5).unwrap(), b"12345");
            assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            assert!(read(Path::new("/dev/zero"), 4).is_err());
        }
        let pipe = dir.path().join("pipe.wasm");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(read_regular(&pipe, 5).unwrap_err().to_string().contains("not a regular file"));
        let nobody = read_within(&pipe, 5, Duration::from_millis(1)).unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_comes_by_a_pipe_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let text = "a line\n".repeat(100_000);
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&pipe, &text).unwrap());
            assert_eq!(read(&pipe, 1 << 20).unwrap(), text.as_bytes());
            scope.spawn(|| drop(fs::write(&pipe, &text)));
            assert_eq!(read(&pipe, 1000).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        });
    }
}
