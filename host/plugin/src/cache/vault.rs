//! A directory of this user alone: what lies in it counts only with the seal of its key.
//!
//! The directory and every file in it is opened without following a symbolic link, and owner and mode are asked of what was
//! opened, never of a name. Entries are `seal ‖ code`; the seal is an HMAC-SHA-256 over the code, with a key made of the
//! installation's key, the engine's version and settings, and the plugin's digest: an entry under another plugin's name, of
//! another release, or of somebody without the key is no entry.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use spout_base::clock;
use thiserror::Error;
use wasmtime::Engine;

/// The installation's key.
const KEY: &str = "key";
const KEY_BYTES: usize = 32;
const SEAL_BYTES: usize = 32;

/// Bytes of compiled code beyond which the oldest goes.
const MOST: u64 = 1 << 30;

/// How long a file may be on its way to its name: what is older was left by a process that was killed.
const STAGED: Duration = Duration::from_secs(24 * 60 * 60);

/// Others may write.
const WRITABLE: u32 = 0o022;
/// Others may do anything.
const SHARED: u32 = 0o077;

/// Why something in the directory, or all of it, does not count.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("it is a symbolic link")]
    Link,
    #[error("it is not a {0}")]
    Kind(&'static str),
    #[error("it belongs to user {owner}, and this is user {user}")]
    Owner { owner: u32, user: u32 },
    #[error("other users may write to it (mode {0:03o})")]
    Writable(u32),
    #[error("other users may read or write the key in it (mode {0:03o})")]
    Shared(u32),
    #[error("the key in it has {0} bytes, not 32")]
    Key(usize),
    #[error("it was not compiled here for this plugin by this release, or it is damaged")]
    Foreign,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP | Errno::MLINK => Self::Link,
            other => Self::Io(other.into()),
        }
    }
}

/// The name and the seal of one plugin's compiled code.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    /// What the code was made of and by: part of its seal.
    context: [u8; 32],
}

impl Entry {
    /// The entry of the plugin of this digest, compiled by this engine.
    pub(super) fn new(engine: &Engine, digest: &str) -> Self {
        use std::hash::Hash as _;

        let mut hashing = Hashing(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hashing);
        hashing.0.update(digest.as_bytes());
        let context: [u8; 32] = hashing.0.finalize().into();
        let name: String = context.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{name}.cwasm"), context }
    }

    /// The name of its file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Feeds what hashes itself to SHA-256.
struct Hashing(Sha256);

impl std::hash::Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// The opened directory.
pub(super) struct Vault {
    path: PathBuf,
    dir: OwnedFd,
    key: hmac::Key,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens the directory, which is made if it is not there, and reads its key, or makes one.
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        // A slash at the end would have a link followed.
        let path: PathBuf = path.components().collect();
        let dir = match open_dir(&path) {
            Err(Errno::NOENT) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
                open_dir(&path)
            }
            opened => opened,
        };
        let dir = dir.map_err(|error| match error {
            Errno::NOTDIR if path.is_symlink() => Refusal::Link,
            Errno::NOTDIR => Refusal::Kind("directory"),
            other => other.into(),
        })?;
        let dir = File::from(dir);
        let about = dir.metadata()?;
        owned(&about)?;
        private(&about, WRITABLE).map_err(Refusal::Writable)?;
        let dir = OwnedFd::from(dir);
        let key = match read_key(&dir)? {
            Some(key) => key,
            None => make_key(&dir)?,
        };
        Ok(Self { path, dir, key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// The directory, for people.
    pub(super) fn dir(&self) -> &Path {
        &self.path
    }

    /// The code of `entry`, as it was kept; `None` if there is none.
    pub(super) fn take(&self, entry: &Entry) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(mut sealed) = self.read(&entry.name)? else { return Ok(None) };
        let code = sealed.split_off(SEAL_BYTES.min(sealed.len()));
        hmac::verify(&self.key_of(entry), &code, &sealed).map_err(|_| Refusal::Foreign)?;
        Ok(Some(code))
    }

    /// Keeps `code` for [`Vault::take`].
    pub(super) fn keep(&self, entry: &Entry, code: &[u8]) -> Result<(), Refusal> {
        let seal = hmac::sign(&self.key_of(entry), code);
        self.write(&entry.name, &[seal.as_ref(), code])?;
        self.make_room(&entry.name, MOST)
    }

    fn key_of(&self, entry: &Entry) -> hmac::Key {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"spout: compiled code, 1\0");
        context.update(&entry.context);
        hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
    }

    /// The bytes of a file of ours; `None` if it is not there.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        read(&self.dir, name, WRITABLE, Refusal::Writable)
    }

    /// Puts a whole file into the place of the one of that name.
    pub(super) fn write(&self, name: &str, pieces: &[&[u8]]) -> Result<(), Refusal> {
        let staged = self.stage(pieces)?;
        rustix::fs::renameat(&self.dir, &staged, &self.dir, name).map_err(|error| self.discard(&staged, error.into()))
    }

    fn stage(&self, pieces: &[&[u8]]) -> Result<String, Refusal> {
        let name = format!(".{}", clock::nonce());
        let mut file = create(&self.dir, &name)?;
        match pieces.iter().try_for_each(|piece| file.write_all(piece)) {
            Ok(()) => Ok(name),
            Err(error) => Err(self.discard(&name, error.into())),
        }
    }

    /// A disk that is full should not fill up with pieces.
    fn discard(&self, staged: &str, why: Refusal) -> Refusal {
        remove(&self.dir, staged);
        why
    }

    /// Removes the code that was kept first where there is more than `most` beside the `newest`, and what killed processes left.
    pub(super) fn make_room(&self, newest: &str, most: u64) -> Result<(), Refusal> {
        let abandoned = clock::wall_ms() / 1000 - i64::try_from(STAGED.as_secs()).unwrap_or(i64::MAX);
        let mut kept = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let staged = name.starts_with('.') && ![".", ".."].contains(&name);
            if !(staged || name.ends_with(".cwasm")) || name == newest {
                continue;
            }
            let Ok(about) = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if !staged {
                kept.push((about.st_mtime, u64::try_from(about.st_size).unwrap_or(0), name.to_owned()));
            } else if about.st_mtime < abandoned {
                remove(&self.dir, name);
            }
        }
        kept.sort_unstable_by(|a, b| b.cmp(a));
        let mut room = most;
        for (_, size, name) in kept {
            match room.checked_sub(size) {
                Some(left) => room = left,
                None => {
                    room = 0;
                    remove(&self.dir, &name);
                }
            }
        }
        Ok(())
    }
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn create(dir: &OwnedFd, name: &str) -> Result<File, Refusal> {
    let how = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir.as_fd(), name, how, Mode::RUSR | Mode::WUSR)?.into())
}

fn remove(dir: &OwnedFd, name: &str) {
    if let Err(error) = rustix::fs::unlinkat(dir.as_fd(), name, AtFlags::empty()) {
        tracing::debug!(name, %error, "cannot remove a file from the cache");
    }
}

/// The bytes of a regular file of this user; `None` if it is not there.
fn read(dir: &OwnedFd, name: &str, forbidden: u32, refused: fn(u32) -> Refusal) -> Result<Option<Vec<u8>>, Refusal> {
    // Without blocking: a pipe in the place of a file would keep the host waiting for a writer.
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir.as_fd(), name, how, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Refusal::Kind("regular file"));
    }
    owned(&about)?;
    private(&about, forbidden).map_err(refused)?;
    let mut bytes = Vec::with_capacity(usize::try_from(about.len().min(MOST)).unwrap_or(0));
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn owned(about: &std::fs::Metadata) -> Result<(), Refusal> {
    let (owner, user) = (about.uid(), rustix::process::geteuid().as_raw());
    if owner == user { Ok(()) } else { Err(Refusal::Owner { owner, user }) }
}

/// The mode, where it has a bit of `forbidden`.
fn private(about: &std::fs::Metadata, forbidden: u32) -> Result<(), u32> {
    let mode = about.mode() & 0o777;
    if mode & forbidden == 0 { Ok(()) } else { Err(mode) }
}

fn read_key(dir: &OwnedFd) -> Result<Option<[u8; KEY_BYTES]>, Refusal> {
    let Some(bytes) = read(dir, KEY, SHARED, Refusal::Shared)? else { return Ok(None) };
    <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map(Some).map_err(|_| Refusal::Key(bytes.len()))
}

/// Makes the key, unless another process has made one meanwhile. It appears under its name whole, by a link that fails where
/// the name is taken.
fn make_key(dir: &OwnedFd) -> Result<[u8; KEY_BYTES], Refusal> {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system provides no random bytes"))?;
    let staged = format!(".{}", clock::nonce());
    let written = create(dir, &staged).and_then(|mut file| {
        file.write_all(&key)?;
        file.sync_all()?;
        Ok(rustix::fs::linkat(dir.as_fd(), &staged, dir.as_fd(), KEY, AtFlags::empty()))
    });
    remove(dir, &staged);
    match written? {
        Ok(()) => Ok(key),
        Err(Errno::EXIST) => read_key(dir)?.ok_or(Refusal::Key(0)),
        Err(error) => Err(error.into()),
    }
}
