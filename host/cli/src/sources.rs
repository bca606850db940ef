//! What a put takes, and where in the repo each of it goes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use spout_api::{Body, join};
use spout_client::{download, is_url, name_of_url, shown_url};
use spout_repo::path;
use tokio::io::{AsyncRead, AsyncWriteExt as _};

use super::error::Error;

/// Bytes from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Stdin,
    File(PathBuf),
    Url(String),
}

/// A source and its path in the repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) source: Source,
    pub(super) to: String,
    /// Whether the name was taken from the source.
    pub(super) named_after: bool,
}

/// Where sources go.
#[derive(Clone, Copy, Debug)]
pub(super) struct To<'a> {
    /// The path of the reference, without a slash at its end.
    pub(super) path: Option<&'a str>,
    /// Whether it had one, so that it is a directory.
    pub(super) directory: bool,
    /// Whether directories may be taken.
    pub(super) recursive: bool,
}

impl Source {
    fn of(text: &Path) -> Self {
        match text.to_str() {
            Some("-") => Self::Stdin,
            Some(url) if is_url(url) => Self::Url(url.to_owned()),
            _ => Self::File(text.to_owned()),
        }
    }

    /// How it is called in messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => shown_url(url),
        }
    }

    /// Its bytes, as they come.
    pub(super) async fn body(&self) -> anyhow::Result<Body<'static>> {
        match self {
            Self::Stdin => Ok(Box::new(tokio::io::stdin())),
            Self::File(path) => match tokio::fs::File::open(path).await {
                Ok(file) => Ok(Box::new(file)),
                Err(source) => Err(unreadable(path, source).into()),
            },
            Self::Url(url) => Ok(download(url).await?),
        }
    }
}

/// What goes where. One file goes to the path itself; several go below it by their names, as one does where the path is a
/// directory or is left out. The files of one directory go below the path; those of several below it by its name.
///
/// # Errors
/// [`Error::NotAFile`], [`Error::ReadFile`], a path that is none, and where two sources would go to one path.
pub(super) fn plan(sources: &[PathBuf], to: To<'_>) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    let single = sources.len() == 1;
    for source in sources {
        match Source::of(source) {
            Source::Stdin => items.push(Item {
                source: Source::Stdin,
                to: to
                    .exact()
                    .filter(|_| single)
                    .ok_or_else(|| usage("standard input has no name; add the whole :/path"))?,
                named_after: false,
            }),
            Source::File(file) if metadata(&file)?.is_dir() => directory(&file, single, to, &mut items)?,
            Source::File(file) => {
                items.push(to.item(single, || name(&file).map(str::to_owned), Source::File(file.clone()))?);
            }
            Source::Url(url) => {
                let nameless = || usage("the URL does not end with a name; add the whole :/path");
                items.push(to.item(single, || name_of_url(&url).ok_or_else(nameless), Source::Url(url.clone()))?);
            }
        }
    }
    for item in &mut items {
        item.to = path::file_path(&item.to)?;
    }
    Ok(items)
}

/// The archives, whose entries go below the path.
pub(super) fn archives(sources: &[PathBuf], to: To<'_>) -> Vec<Item> {
    let below = to.path.unwrap_or("/");
    sources.iter().map(|source| Item { source: Source::of(source), to: below.to_owned(), named_after: false }).collect()
}

/// The file to read rows from, which has to be read twice: what cannot be is copied into one.
///
/// # Errors
/// [`Error::ReadFile`], and those of getting a URL.
pub(super) async fn seekable(source: &Source, body: impl AsyncRead + Unpin) -> anyhow::Result<fs::File> {
    if let Source::File(path) = source {
        return Ok(fs::File::open(path).map_err(|source| unreadable(path, source))?);
    }
    let shown = source.shown();
    let failed = |source| unreadable(Path::new(&shown), source);
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(failed)?);
    let mut body = body;
    tokio::io::copy(&mut body, &mut file).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    Ok(file.into_std().await)
}

/// Two sources with one path would leave only the last of them there.
///
/// # Errors
/// A wrong usage that names both.
pub(super) fn apart(items: &[Item]) -> Result<(), Error> {
    let mut there: BTreeMap<&str, &Source> = BTreeMap::new();
    for item in items {
        if let Some(other) = there.insert(&item.to, &item.source) {
            let (a, b) = (other.shown(), item.source.shown());
            return Err(usage(&format!(
                "{a} and {b} would both be {}; put them at two paths, or append with -a",
                item.to
            )));
        }
    }
    Ok(())
}

impl To<'_> {
    fn base(&self) -> &str {
        self.path.unwrap_or("/")
    }

    /// The path of a single file; `None` where it is a directory.
    fn exact(&self) -> Option<String> {
        self.path.filter(|path| !self.directory && *path != "/").map(str::to_owned)
    }
}

impl To<'_> {
    /// Where a source with a name of its own goes.
    fn item(self, single: bool, name: impl FnOnce() -> Result<String, Error>, source: Source) -> Result<Item, Error> {
        match self.exact().filter(|_| single) {
            Some(to) => Ok(Item { source, to, named_after: false }),
            None => Ok(Item { to: join(self.base(), &name()?), source, named_after: true }),
        }
    }
}

fn usage(what: &str) -> Error {
    Error::Usage { verb: "put file", what: what.to_owned() }
}

fn not_a_file(path: &Path, why: &'static str) -> Error {
    Error::NotAFile { path: path.to_owned(), why }
}

fn metadata(path: &Path) -> Result<fs::Metadata, Error> {
    fs::metadata(path).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::ReadFile { path: path.to_owned(), source }
}

fn name(file: &Path) -> Result<&str, Error> {
    let name = file.file_name().ok_or_else(|| not_a_file(file, "it has no name of its own; add the whole :/path"))?;
    name.to_str().ok_or_else(|| not_a_file(file, "its name is not UTF-8; rename it, or put it alone at a whole :/path"))
}

fn directory(source: &Path, single: bool, to: To<'_>, items: &mut Vec<Item>) -> Result<(), Error> {
    if !to.recursive {
        return Err(not_a_file(source, "it is a directory; add -r to put all files below it"));
    }
    let base = if single { to.base().to_owned() } else { join(to.base(), name(source)?) };
    let before = items.len();
    walk(source, &base, items)?;
    if items.len() > before {
        Ok(())
    } else {
        Err(not_a_file(source, "it is a directory without files, and a repo holds files only"))
    }
}

/// Files below `source` in the order of their names. Links to files are followed; links to directories could lead round.
fn walk(source: &Path, base: &str, items: &mut Vec<Item>) -> Result<(), Error> {
    let entries = fs::read_dir(source).map_err(|error| unreadable(source, error))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(source, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.path();
        let to = join(base, name(&file)?);
        let kind = entry.file_type().map_err(|error| unreadable(&file, error))?;
        let followed = metadata(&file)?;
        if kind.is_dir() {
            walk(&file, &to, items)?;
        } else if followed.is_dir() {
            return Err(not_a_file(&file, "it is a link to a directory; put that directory by itself"));
        } else if followed.is_file() {
            items.push(Item { source: Source::File(file), to, named_after: true });
        } else {
            return Err(not_a_file(&file, "it is a pipe, a socket or a device; put it by itself, or move it away"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(sources: &[&str], root: &Path, to: To<'_>) -> Result<Vec<String>, String> {
        let sources: Vec<PathBuf> = sources.iter().map(|source| root.join(source)).collect();
        let items = plan(&sources, to).map_err(|error| error.to_string())?;
        apart(&items).map_err(|error| error.to_string())?;
        Ok(items.into_iter().map(|item| item.to).collect())
    }

    #[test]
    fn sources_go_where_a_copy_would_go() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.txt", "d/a.txt", "d/e/b.txt", "f/c.txt"] {
            let file = dir.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        fs::create_dir(dir.path().join("empty")).unwrap();
        let to = |path: Option<&'static str>, directory| To { path, directory, recursive: true };
        let check = |sources: &[&str], to: To<'_>, expected: &[&str]| {
            assert_eq!(placed(sources, dir.path(), to).unwrap(), expected, "{sources:?} {to:?}");
        };
        check(&["a.txt"], to(Some("/x"), false), &["/x"]);
        check(&["a.txt"], to(Some("/x"), true), &["/x/a.txt"]);
        check(&["a.txt"], to(None, false), &["/a.txt"]);
        check(&["a.txt"], to(Some("/"), false), &["/a.txt"]);
        check(&["a.txt", "d/e/b.txt"], to(Some("/x"), false), &["/x/a.txt", "/x/b.txt"]);
        check(&["d"], to(Some("/x"), false), &["/x/a.txt", "/x/e/b.txt"]);
        check(&["d"], to(None, false), &["/a.txt", "/e/b.txt"]);
        let urls = |urls: &[&str], to| plan(&urls.iter().map(PathBuf::from).collect::<Vec<_>>(), to);
        assert_eq!(urls(&["https://h/a/b.csv?x"], to(Some("/x"), true)).unwrap()[0].to, "/x/b.csv");
        assert_eq!(urls(&["https://h/"], to(Some("/x"), false)).unwrap()[0].to, "/x");
        assert!(urls(&["https://h/"], to(Some("/x"), true)).is_err());
        check(&["d", "f"], to(Some("/x"), false), &["/x/d/a.txt", "/x/d/e/b.txt", "/x/f/c.txt"]);

        let refused = |sources: &[&str], to: To<'_>, says: &str| {
            let error = placed(sources, dir.path(), to).unwrap_err();
            assert!(error.contains(says), "{sources:?}: {error}");
        };
        refused(&["a.txt", "d/a.txt"], to(Some("/x"), false), "would both be /x/a.txt");
        refused(&["d"], To { recursive: false, ..to(None, false) }, "add -r");
        refused(&["empty"], to(None, false), "without files");
        refused(&["nowhere"], to(None, false), "cannot read");
        let stdin = |to| plan(&[PathBuf::from("-")], to).map(|items| items[0].to.clone());
        assert_eq!(stdin(to(Some("/x"), false)).unwrap(), "/x");
        assert!(stdin(to(Some("/x"), true)).is_err() && stdin(to(None, false)).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_taken_out_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let to = To { path: None, directory: false, recursive: true };
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        assert_eq!(placed(&["."], dir.path(), to).unwrap(), ["/a", "/link"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("round")).unwrap();
        assert!(placed(&["."], dir.path(), to).unwrap_err().contains("link to a directory"));
    }
}
