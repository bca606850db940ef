//! Which directory this user's compiled plugins are kept in.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// `$XDG_CACHE_HOME/spout`, or `.cache/spout` in this user's home directory: `$HOME`, or what the system's list of users says.
/// `None` for a user without one.
#[must_use]
pub fn user_cache() -> Option<PathBuf> {
    // `home_dir` takes an empty HOME for an answer.
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).map_or_else(listed_home, |home| Some(home.into()));
    below(env::var_os("XDG_CACHE_HOME"), home)
}

/// The home directory in the system's list of users.
fn listed_home() -> Option<PathBuf> {
    match env::var_os("HOME") {
        None => env::home_dir(),
        Some(_) => None,
    }
}

/// Relative paths are passed over, as the XDG rules say: they would lie in whatever directory a command runs in.
fn below(cache_home: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute() && path != Path::new("/");
    let named = cache_home.map(PathBuf::from).filter(absolute);
    named.or_else(|| home.filter(absolute).map(|home| home.join(".cache"))).map(|cache| cache.join("spout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cache_home: Option<&str>, home: Option<&str>, expected: Option<&str>) {
        let found = below(cache_home.map(Into::into), home.map(Into::into));
        assert_eq!(found.as_deref(), expected.map(Path::new));
    }

    #[test]
    fn the_directory_is_the_users_own() {
        check(Some("/x/cache"), Some("/home/ann"), Some("/x/cache/spout"));
        check(None, Some("/home/ann"), Some("/home/ann/.cache/spout"));
        check(None, None, None);
        // Whoever wrote the tree that a command runs in must not choose.
        check(Some(".cache"), Some("/home/ann"), Some("/home/ann/.cache/spout"));
        check(Some(""), Some("home"), None);
        check(None, Some("/"), None);
    }
}
