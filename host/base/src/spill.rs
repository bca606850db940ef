//! Bytes that lie in a file instead of in memory, and are read like others: the system keeps in memory what is in use.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;
use memmap2::Mmap;
use thiserror::Error;

use super::error::{Coded, Kind};

/// Fewer bytes than this stay in memory.
pub const LEAST: usize = 1 << 20;

/// Bytes that could not be written to a temporary file.
#[derive(Debug, Error)]
#[error(
    "cannot write {bytes} bytes of state to a temporary file in {}; make room there, or name another directory in TMPDIR", place.display()
)]
pub struct Unspilled {
    bytes: usize,
    place: &'static Path,
    source: io::Error,
}

impl Coded for Unspilled {
    fn kind(&self) -> Kind {
        Kind::Unavailable
    }

    fn code(&self) -> &'static str {
        "E0574"
    }
}

/// `parts`, one after the other: in a temporary file if they are [`LEAST`] bytes or more. The file has no name, and is gone with
/// the bytes, however the process ends.
///
/// # Errors
/// [`Unspilled`] if there is no room for it.
pub fn spilled(parts: &[&[u8]]) -> Result<Bytes, Unspilled> {
    let bytes = parts.iter().map(|part| part.len()).sum();
    if bytes < LEAST {
        return Ok(parts.concat().into());
    }
    let place = place();
    mapped(place, parts).map_err(|source| Unspilled { bytes, place, source })
}

fn mapped(place: &Path, parts: &[&[u8]]) -> io::Result<Bytes> {
    let mut file: File = tempfile::tempfile_in(place)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    // SAFETY: the file has no name and is not handed out, so nothing shortens or changes it while it is mapped.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}

/// `TMPDIR`, or `/var/tmp`: `/tmp` is often in memory, which is what is to be spared.
fn place() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let large = PathBuf::from("/var/tmp");
        if env::var_os("TMPDIR").is_none() && large.is_dir() { large } else { env::temp_dir() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_wherever_they_lie() {
        let large = vec![7; LEAST];
        for parts in [vec![], vec![&b"a"[..], b"", b"bc"], vec![b"head", &large, b"tail"]] {
            assert_eq!(spilled(&parts).unwrap(), parts.concat());
        }
    }

    #[test]
    fn without_room_it_says_where_and_what_to_do() {
        let source = mapped(Path::new("/nowhere"), &[b"a"]).unwrap_err();
        let error = Unspilled { bytes: 1, place: Path::new("/nowhere"), source };
        assert!(error.to_string().contains("/nowhere; make room there"), "{error}");
    }
}
