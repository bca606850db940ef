//! Where processes of one user that share a store meet on this machine: a directory of sockets that nobody else can enter.

use std::{
    env, fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

/// Names the directory, in the place of `XDG_RUNTIME_DIR`.
const VARIABLE: &str = "SPOUT_RUNTIME";

/// How the name of a socket that is answered ends.
const SUFFIX: &str = ".sock";

/// Where the sockets of this user are: below what `SPOUT_RUNTIME` names, or `XDG_RUNTIME_DIR`, or else in the directory for
/// temporary files.
#[must_use]
pub fn directory() -> PathBuf {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = named(VARIABLE) {
        return dir;
    }
    match named("XDG_RUNTIME_DIR").filter(|dir| dir.is_dir()) {
        Some(dir) => dir.join("spout"),
        None => env::temp_dir().join(format!("spout-{}", user())),
    }
}

/// The number of the user that this process acts for.
#[must_use]
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Where this process can be met about `store`, in [`directory`], which is made where it is not there.
///
/// # Errors
/// Why that is no place: it is somebody else's, or others may enter it.
pub fn own(store: &str) -> io::Result<PathBuf> {
    let dir = directory();
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check(&dir)?;
    Ok(dir.join(format!("{}-{}{SUFFIX}", digest(store), std::process::id())))
}

/// Where other processes can be met about `store`; none where the directory is not ours alone.
#[must_use]
pub fn others(store: &str) -> Vec<PathBuf> {
    let dir = directory();
    if check(&dir).is_err() {
        return Vec::new();
    }
    let begins = format!("{}-", digest(store));
    let ours = |path: &PathBuf| {
        // One that is being made has another ending.
        let named = path.file_name().map(|name| name.to_string_lossy());
        let named = named.is_some_and(|name| name.starts_with(&begins) && name.ends_with(SUFFIX));
        let about = fs::symlink_metadata(path);
        named && about.is_ok_and(|about| about.file_type().is_socket() && about.uid() == user())
    };
    let all = fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = all.filter(ours).filter(|path| is_answered(path)).collect();
    all.sort();
    all
}

/// Whether somebody listens there. What a process left behind that was killed is removed.
fn is_answered(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                drop(fs::remove_file(path));
            }
            false
        }
    }
}

/// Whether `dir` is a directory of this user, and nobody else may enter it.
fn check(dir: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(dir)?;
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {what}", dir.display())));
    if !about.is_dir() {
        wrong("is no directory")
    } else if about.uid() != user() {
        wrong("belongs to somebody else")
    } else if about.mode() & 0o077 != 0 {
        wrong("is open to others; `chmod 700` closes it")
    } else {
        Ok(())
    }
}

/// What stands for a store in a name: the path where it is a directory, whatever it was called by.
fn digest(store: &str) -> String {
    let place = fs::canonicalize(store).ok().and_then(|path| path.into_os_string().into_string().ok());
    // FNV-1a: it keeps names short, and nothing rests on it.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", place.as_deref().unwrap_or(store).bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_that_others_may_enter_is_no_place_to_meet() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("run");
        fs::create_dir(&dir).unwrap();
        for (mode, fine) in [(0o700, true), (0o750, false), (0o707, false), (0o500, true)] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check(&dir).is_ok(), fine, "{mode:o}");
        }
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        assert!(check(&link).is_err(), "a link leads to where its maker wants");
    }

    #[test]
    fn a_store_has_one_name_however_it_is_called() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        fs::create_dir(&store).unwrap();
        let (plain, detour) = (store.display().to_string(), store.join("../store").display().to_string());
        assert_eq!(digest(&plain), digest(&detour));
        assert_ne!(digest(&plain), digest("s3://bucket/store"));
        assert_eq!(digest("s3://bucket/store").len(), 16);
    }
}
