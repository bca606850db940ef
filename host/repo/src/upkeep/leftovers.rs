//! Files of broken writes: a store on a disk stages `name#1` before it links it to `name`, and its listings leave them out.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use crate::repo::Repo;

/// What a broken write left.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// When it was written; milliseconds since 1970.
    pub(crate) at_ms: i64,
}

/// All that broken writes left in `repo`, or are being written just now; nothing in a bucket.
pub(crate) fn find(repo: &Repo) -> Vec<Leftover> {
    let mut found = Vec::new();
    let Some(root) = repo.objects.root() else { return found };
    let mut directories = vec![root.join(repo.layout.root().as_ref())];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(about) if about.is_dir() => directories.push(path),
                Ok(about) if about.is_file() && is_staged(&path) => {
                    let written = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                    let at_ms = written.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(i64::MAX);
                    found.push(Leftover { path, size: about.len(), at_ms });
                }
                _ => {}
            }
        }
    }
    found
}

fn is_staged(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let digits = name.and_then(|name| name.rsplit_once('#')).map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
