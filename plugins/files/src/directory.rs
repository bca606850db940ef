//! Which files there are, and their numbers.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use spout_guest::{Error, Result};

use crate::Settings;

/// A granted directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    pattern: String,
    recursive: bool,
}

impl Directory {
    pub(crate) fn open(root: PathBuf, settings: &Settings) -> Result<Self> {
        let directory = Self { root, pattern: settings.pattern.clone(), recursive: settings.recursive };
        match fs::read_dir(&directory.root) {
            Ok(_) => Ok(directory),
            Err(error) => Err(directory.unreadable(&directory.root, &error)),
        }
    }

    /// The files by number, each with its path below the directory. A file's number depends on its path alone, so it
    /// stays the same whatever else comes and goes.
    pub(crate) fn files(&self) -> Result<BTreeMap<u32, String>> {
        let mut names = Vec::new();
        self.walk(&self.root, "", &mut names)?;
        let mut files = BTreeMap::new();
        for name in names {
            if let Some(other) = files.insert(number(&name), name.clone()) {
                let message = format!("the files `{other}` and `{name}` have the same number; rename one of them");
                return Err(Error::fatal("files.collision", message));
            }
        }
        Ok(files)
    }

    /// Where the file of that number is.
    pub(crate) fn path(&self, partition: u32) -> Result<PathBuf> {
        match self.files()?.get(&partition) {
            Some(name) => Ok(self.root.join(name)),
            None => {
                let message = format!("no file of {} has the number {partition} any more", self.root.display());
                Err(Error::retriable("files.missing", message))
            }
        }
    }

    /// What to say of a file that was replaced or cut short, where the whole directory is read as one stream.
    pub(crate) fn replaced(&self, partition: u32) -> String {
        let path = self.path(partition).map_or_else(|_| partition.to_string(), |path| path.display().to_string());
        format!(
            "{path} was replaced or cut short, and what it had is gone; read the directory by partition (`consumerType: lowlevel`), where `onOutOfRange` says how to go on"
        )
    }

    fn walk(&self, dir: &Path, below: &str, names: &mut Vec<String>) -> Result<()> {
        for entry in fs::read_dir(dir).map_err(|error| self.unreadable(dir, &error))? {
            let entry = entry.map_err(|error| self.unreadable(dir, &error))?;
            let Ok(file) = entry.file_name().into_string() else { continue };
            let name = if below.is_empty() { file } else { format!("{below}/{file}") };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && self.recursive {
                self.walk(&entry.path(), &name, names)?;
            } else if kind.is_file() && matches(self.pattern.as_bytes(), name.as_bytes()) {
                names.push(name);
            }
        }
        Ok(())
    }

    fn unreadable(&self, dir: &Path, error: &io::Error) -> Error {
        let topic = self.root.display().to_string();
        let topic = topic.trim_start_matches('/');
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied if dir == self.root => {
                Error::invalid_config(format!(
                    "the topic `{topic}` is not a granted directory; add `grants: {{files: {{dirs: {{{topic}: PATH}}}}}}` to the spec"
                ))
            }
            _ => Error::retriable("files.unreadable", format!("cannot read {}: {error}", dir.display())),
        }
    }
}

/// FNV-1a over the path, folded to 32 bits.
fn number(name: &str) -> u32 {
    let hash = hash(name.as_bytes());
    (hash ^ (hash >> 32)) as u32
}

/// FNV-1a.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether `name` fits `pattern`, in which `*` stands for any run and `?` for one character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // After a mismatch, the last star takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == b'?' || Some(&c) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((after, taken)) => {
                    retry = Some((after, taken + 1));
                    (p, n) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&c| c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        };
        check("*", "a.log", true);
        check("*.ndjson", "events.ndjson", true);
        check("*.ndjson", "events.ndjson.gz", false);
        check("a?c*", "abcdef", true);
        check("*a*b", "xxaxxbxb", true);
        check("", "x", false);
        check("x", "", false);
    }
}
