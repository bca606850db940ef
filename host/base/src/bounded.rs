//! Files that are read whole, as far as they are what they should be: never more than a limit, and never waiting for a writer.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// The bytes of a file of at most `most` bytes, whatever kind of file it is.
///
/// # Errors
/// It cannot be read, or has more.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    whole(File::open(path)?, most)
}

/// The same of a regular file: a pipe or a device that has its name is an error at once.
///
/// # Errors
/// It cannot be read, has more, or is no regular file.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    whole(file, most)
}

fn whole(file: File, most: u64) -> io::Result<Vec<u8>> {
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
    }
}
