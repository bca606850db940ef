//! The one place where names of repos, branches and files are judged.

use globset::{GlobBuilder, GlobMatcher};
use unicode_normalization::UnicodeNormalization;

use super::error::Error;

const LONGEST_PATH: usize = 1024;
const LONGEST_SEGMENT: usize = 255;
const LONGEST_NAME: usize = 100;
/// Names that a Windows machine cannot create, with or without an extension: `get file` must work there too.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
/// Where our own files will live inside a tree, should there ever be any, and where Delta keeps a table's log.
const OURS: [&str; 2] = [".spout", "_delta_log"];

/// The canonical form of a file path: one leading slash, no trailing one.
///
/// A single leading slash means the root of the repo, so `/etc/passwd` is a file called so inside the repo and can never
/// leave it. Everything that could mean another place on some system is refused.
///
/// # Errors
/// [`Error::BadPath`] with the reason.
pub fn file_path(path: &str) -> Result<String, Error> {
    let wrong = |reason| Error::BadPath { path: path.chars().take(200).collect(), reason };
    let inner = path.strip_prefix('/').unwrap_or(path);
    if inner.is_empty() {
        return Err(wrong("it is empty"));
    }
    if inner.len() >= LONGEST_PATH {
        return Err(wrong("it is longer than 1024 bytes"));
    }
    inner.split('/').try_for_each(|segment| segment_ok(segment).map_err(wrong))?;
    let drive = inner.as_bytes();
    if drive.len() > 1 && drive[0].is_ascii_alphabetic() && drive[1] == b':' {
        return Err(wrong("it starts with a drive letter"));
    }
    Ok(format!("/{inner}"))
}

pub(super) mod stored {
    //! Paths and names that are read from a store, which anybody may have written: held to the same rules as those that are put.

    use serde::{Deserialize, Deserializer, de::Error as _};

    use super::{branch_name, file_path, segment_ok};
    use crate::error::Error;

    /// The path of a file.
    pub(crate) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let path = String::deserialize(from)?;
        sound(&path).map_err(D::Error::custom)?;
        Ok(path)
    }

    /// Paths of files.
    pub(crate) fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        let paths = Vec::<String>::deserialize(from)?;
        paths.iter().try_for_each(|path| sound(path)).map_err(D::Error::custom)?;
        Ok(paths)
    }

    /// The name of an object, below the repo.
    pub(crate) fn object<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let name = String::deserialize(from)?;
        let sound = name.split('/').try_for_each(|segment| match segment {
            // Delta tables lie among the objects.
            "_delta_log" => Ok(()),
            other => segment_ok(other),
        });
        sound.map_err(|reason| {
            D::Error::custom(format!("`{}` is no name of an object: {reason}", name.escape_debug()))
        })?;
        Ok(name)
    }

    /// What no count of records, commits or bytes comes to: sums of them stay numbers.
    const MOST: u64 = 1 << 53;

    /// How many, or at which place.
    pub(crate) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let count = u64::deserialize(from)?;
        if count <= MOST {
            Ok(count)
        } else {
            Err(D::Error::custom(format!("{count} is more than anything here comes to")))
        }
    }

    /// A run of numbers, first and last.
    pub(crate) fn run<'de, D: Deserializer<'de>>(from: D) -> Result<(u64, u64), D::Error> {
        whole(<(u64, u64)>::deserialize(from)?)
    }

    /// Runs of numbers.
    pub(crate) fn runs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u64, u64)>, D::Error> {
        Vec::<(u64, u64)>::deserialize(from)?.into_iter().map(whole).collect()
    }

    fn whole<E: serde::de::Error>((first, last): (u64, u64)) -> Result<(u64, u64), E> {
        if first <= last && last <= MOST {
            Ok((first, last))
        } else {
            Err(E::custom(format!("{first} to {last} is no run of numbers")))
        }
    }

    /// The name of a branch.
    pub(crate) fn branch<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let name = String::deserialize(from)?;
        branch_name(&name).map_err(D::Error::custom)?;
        Ok(name)
    }

    fn sound(path: &str) -> Result<(), String> {
        let shown = || path.chars().take(200).collect::<String>().escape_debug().to_string();
        match file_path(path) {
            Ok(canonical) if canonical == path => Ok(()),
            Ok(_) => Err(format!("the path `{}` does not begin with a slash", shown())),
            Err(Error::BadPath { reason, .. }) => Err(format!("`{}` is no path of a file: {reason}", shown())),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn segment_ok(segment: &str) -> Result<(), &'static str> {
    let stem = segment.split('.').next().unwrap_or(segment).to_ascii_lowercase();
    let numbered = |name: &str| {
        stem.strip_prefix(name).is_some_and(|rest| rest.len() == 1 && matches!(rest.as_bytes()[0], b'1'..=b'9'))
    };
    match segment {
        "" => Err("it has an empty segment"),
        "." | ".." => Err("it has a segment `.` or `..`"),
        _ if OURS.contains(&segment) => Err("the names .spout and _delta_log are reserved"),
        _ if segment.len() > LONGEST_SEGMENT => Err("a segment is longer than 255 bytes"),
        _ if segment.contains('\0') => Err("it has a NUL byte"),
        _ if segment.contains('\\') => Err("it has a backslash"),
        _ if segment.chars().any(char::is_control) => Err("it has a control character"),
        _ if segment.ends_with(['.', ' ']) => Err("a segment ends with a dot or a space"),
        _ if DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") => {
            Err("a segment is the reserved name of a device")
        }
        _ => Ok(()),
    }
}

/// The form in which two paths are the same that some system would take for one: composed, lower case.
pub(super) fn folded(path: &str) -> String {
    if path.is_ascii() { path.to_ascii_lowercase() } else { path.nfc().flat_map(char::to_lowercase).nfc().collect() }
}

/// The directories above a path, without their trailing slash, the root left out.
pub(super) fn directories(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

/// The directory that a table file has below `tables/<branch>`: the one of its table, which is its own without `key=value`
/// segments, or `/_root`, and then those segments.
pub(super) fn table(path: &str) -> String {
    let (directory, _) = path.rsplit_once('/').unwrap_or_default();
    let (keys, plain): (Vec<&str>, Vec<&str>) = directory.split('/').skip(1).partition(|segment| segment.contains('='));
    let table = if plain.is_empty() { "_root".to_owned() } else { plain.join("/") };
    keys.iter().fold(format!("/{table}"), |joined, segment| format!("{joined}/{segment}"))
}

/// A pattern of paths: `*` and `?` stay within a directory, `**` does not; `[abc]` and `{a,b}` are one of several.
///
/// # Errors
/// [`Error::BadPattern`].
pub fn pattern(text: &str) -> Result<GlobMatcher, Error> {
    let rooted = format!("/{}", text.trim_start_matches('/'));
    let glob = GlobBuilder::new(&rooted).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|source| Error::BadPattern {
        pattern: text.chars().take(200).collect(),
        reason: source.kind().to_string(),
    })
}

/// Files that are read only where they are asked for: they are not what a pipeline was run for.
const ASIDE: [&str; 3] = ["/dead-letter/", "/late/", DATUMS];

/// Whether the file at `path` is one of those: a dead letter, a late row, or what was made of which file.
#[must_use]
pub fn is_aside(path: &str) -> bool {
    ASIDE.iter().any(|aside| path.starts_with(aside))
}

/// Where the output of a pipeline that runs file by file says what was made of which file of its input.
pub const DATUMS: &str = "/.datums/";

/// Files of a branch that are read: those below a directory, as in `/clean/`, or of a pattern; all but those set aside where
/// neither is named.
#[derive(Clone, Debug)]
pub struct Selection(Option<GlobMatcher>);

impl Selection {
    /// The files that `text` names, if it is there.
    ///
    /// # Errors
    /// [`Error::BadPattern`].
    pub fn new(text: Option<&str>) -> Result<Self, Error> {
        let whole = |text: &str| if text.ends_with('/') { format!("{text}**") } else { text.to_owned() };
        text.map(|text| pattern(&whole(text))).transpose().map(Self)
    }

    /// Whether the file at `path` is one of them.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        match &self.0 {
            Some(pattern) => pattern.is_match(path),
            None => !is_aside(path),
        }
    }
}

/// The repo of the pipelines of a store. No other name but this and the next begins with an underscore, so that no pipeline can
/// be called so.
pub const SPECS: &str = "_specs";

/// The repo of the plugins of a store.
pub const PLUGINS: &str = "_plugins";

/// The name of a repo, unchanged.
///
/// # Errors
/// [`Error::BadName`] with the reason.
pub fn repo_name(name: &str) -> Result<&str, Error> {
    if [SPECS, PLUGINS].contains(&name) { Ok(name) } else { named("repo", name) }
}

/// The name of a branch, unchanged. What reads as a commit id is refused, so that `repo@x` has one meaning.
///
/// # Errors
/// [`Error::BadName`] with the reason.
pub fn branch_name(name: &str) -> Result<&str, Error> {
    reference_name("branch", name)
}

/// The name of a tag, unchanged; judged as a branch's.
///
/// # Errors
/// [`Error::BadName`] with the reason.
pub fn tag_name(name: &str) -> Result<&str, Error> {
    reference_name("tag", name)
}

fn reference_name<'a>(what: &'static str, name: &'a str) -> Result<&'a str, Error> {
    if name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::BadName { what, name: name.to_owned(), reason: "it looks like a commit id" });
    }
    named(what, name)
}

fn named<'a>(what: &'static str, name: &'a str) -> Result<&'a str, Error> {
    let wrong = |reason| Err(Error::BadName { what, name: name.chars().take(200).collect(), reason });
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match name.as_bytes() {
        [] => wrong("it is empty"),
        [first, ..] if !first.is_ascii_alphanumeric() => wrong("it does not start with a letter or digit"),
        bytes if bytes.len() > LONGEST_NAME => wrong("it is too long"),
        bytes if !bytes.iter().all(|&byte| plain(byte)) => wrong("it has an invalid character"),
        bytes if bytes.ends_with(b".") => wrong("it ends with a dot"),
        _ => segment_ok(name).map_or_else(wrong, |()| Ok(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_repo() {
        let check =
            |path: &str, expected: Option<&str>| assert_eq!(file_path(path).ok().as_deref(), expected, "{path:?}");
        check("a.txt", Some("/a.txt"));
        check("/events/x y.parquet", Some("/events/x y.parquet"));
        check("/größe/日本.csv", Some("/größe/日本.csv"));
        check("/a/..b", Some("/a/..b"));
        for bad in ["", "/", "//a", "a//b", "a/", "../a", "/a/../b", "a/..", ".", "./a", "a\0b", "a\\b", "C:/a", "c:"] {
            check(bad, None);
        }
        for bad in ["a\nb", "a/NUL", "a/con.txt", "lpt1", "COM9.x", "/.spout/x", "a.", "a /b", "a\u{7f}"] {
            check(bad, None);
        }
        check("console/com10/lpt", Some("/console/com10/lpt"));
        check(&"a".repeat(256), None);
        check(&"a/".repeat(600), None);
        check(&format!("{}b", "a/".repeat(511)), Some(&format!("/{}b", "a/".repeat(511))));
        check(&format!("{}bb", "a/".repeat(511)), None);
    }

    #[test]
    fn names_are_plain() {
        let check = |name: &str, expected: bool| assert_eq!(branch_name(name).is_ok(), expected, "{name:?}");
        check("master", true);
        check("github-events_2.x", true);
        check("0abc", true);
        for bad in ["", "-a", ".a", "a/b", "a b", "..", "a.", "nul", "ä", &"a".repeat(101), &"0f".repeat(16)] {
            check(bad, false);
        }
        assert!(repo_name(&"0f".repeat(16)).is_ok());
    }
}
