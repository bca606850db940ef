//! Which repo and which of its files a table name means.

use std::collections::{BTreeMap, BTreeSet};

use spout_base::near::did_you_mean;
use spout_repo::{FileEntry, MASTER, Reference, Repo, Store, Tree, path::is_aside};

use super::{Error, Verify, table::RepoTable};

/// Where rows that were set aside are.
const DEAD_LETTER: &str = "/dead-letter";

/// The table that `name`, maybe with a commit after an `@`, means; without one it is read at the commit that `at` says.
pub(super) async fn find(
    store: &Store,
    repos: &[String],
    name: &str,
    at: &BTreeMap<String, Reference>,
    verify: Verify,
) -> Result<RepoTable, Error> {
    let (table, point) = name.split_once('@').map_or((name, None), |(table, point)| (table, Some(point)));
    if let Some(repo) = whole(table, repos)? {
        let (reference, mut tree, repo) = open(store, repo, point, at).await?;
        let nothing = only_set_aside(&reference, &tree);
        let files = rows(&mut tree, reference.path.as_deref());
        return RepoTable::new(repo, tree, files, verify)?
            .ok_or_else(|| nothing.unwrap_or_else(|| Error::NoTable { reference: reference.to_string() }));
    }
    let mut nothing = None;
    for (repo, rest) in parts(table, repos) {
        let (reference, mut tree, repo) = open(store, repo, point, at).await?;
        nothing = nothing.or_else(|| only_set_aside(&reference, &tree));
        let directory = directories(&tree).into_iter().find(|path| plain(path.trim_start_matches('/')) == rest);
        let Some(directory) = directory else { continue };
        let files = tree.take(|file| is_table(file) && is_below(file, &directory));
        if let Some(table) = RepoTable::new(repo, tree, files, verify)? {
            return Ok(table);
        }
    }
    Err(nothing.unwrap_or_else(|| unknown(table, repos)))
}

/// That a commit has no rows because every message was set aside, if it is so.
fn only_set_aside(reference: &Reference, tree: &Tree) -> Option<Error> {
    let only = tables(tree).all(|file| is_aside(&file.path));
    let letters = || tables(tree).filter(|file| is_below(file, DEAD_LETTER));
    (only && letters().count() > 0).then(|| Error::OnlyDeadLetters {
        reference: reference.to_string(),
        letters: letters().filter_map(|file| file.rows).sum(),
        table: format!("{}_dead_letter", plain(&reference.repo)),
    })
}

async fn open(
    store: &Store,
    repo: &str,
    point: Option<&str>,
    at: &BTreeMap<String, Reference>,
) -> Result<(Reference, Tree, Repo), Error> {
    let reference = match point {
        Some(point) => format!("{repo}@{point}").parse()?,
        None => at.get(repo).cloned().unwrap_or_else(|| Reference::head(repo, MASTER)),
    };
    let (repo, commit) = store.recorded(&reference).await?;
    let tree = repo.tree(&commit).await?;
    Ok((reference, tree, repo))
}

/// Takes out the table files below a directory, without what was set aside unless that is asked for.
pub(super) fn rows(tree: &mut Tree, below: Option<&str>) -> Vec<FileEntry> {
    let below = below.unwrap_or("/");
    let set_aside = is_aside(&format!("{}/", below.trim_end_matches('/')));
    tree.take(|file| is_table(file) && is_below(file, below) && (set_aside || !is_aside(&file.path)))
}

pub(super) fn unknown(name: &str, repos: &[String]) -> Error {
    let plain: Vec<_> = repos.iter().map(|repo| plain(repo)).collect();
    Error::UnknownTable { table: name.to_owned(), nearest: did_you_mean(name, plain.iter().map(String::as_str)) }
}

/// A name as it can be written in SQL without quotes.
fn plain(name: &str) -> String {
    name.replace(['-', '.', '/', ' '], "_").to_ascii_lowercase()
}

/// The repo whose own name, or else whose plain name, is `name`.
fn whole<'a>(name: &str, repos: &'a [String]) -> Result<Option<&'a str>, Error> {
    if let Some(repo) = repos.iter().find(|repo| *repo == name) {
        return Ok(Some(repo));
    }
    let fitting: Vec<_> = repos.iter().filter(|repo| plain(repo) == name.to_ascii_lowercase()).collect();
    match fitting.as_slice() {
        [] => Ok(None),
        [repo] => Ok(Some(repo)),
        several => {
            let names: Vec<_> = several.iter().map(|repo| format!("`{repo}`")).collect();
            Err(Error::AmbiguousTable { table: name.to_owned(), repos: names.join(" or ") })
        }
    }
}

/// Repos whose plain name is followed by more in `name`, the longest first, with that more.
fn parts<'a>(name: &str, repos: &'a [String]) -> Vec<(&'a str, String)> {
    let name = plain(name);
    let mut found: Vec<_> = repos
        .iter()
        .filter_map(|repo| Some((repo.as_str(), name.strip_prefix(&plain(repo))?.strip_prefix('_')?.to_owned())))
        .collect();
    found.sort_by_key(|(repo, _)| std::cmp::Reverse(repo.len()));
    found
}

fn tables(tree: &Tree) -> impl Iterator<Item = &FileEntry> {
    tree.files().filter(|file| is_table(file))
}

fn is_table(file: &FileEntry) -> bool {
    file.format.is_some()
}

fn is_below(file: &FileEntry, directory: &str) -> bool {
    within(&file.path, directory)
}

fn within(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Every directory with table files below it.
fn directories(tree: &Tree) -> BTreeSet<String> {
    let above = |file: &'_ FileEntry| -> Vec<String> {
        file.path.match_indices('/').skip(1).map(|(at, _)| file.path[..at].to_owned()).collect()
    };
    tables(tree).flat_map(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_means_one_repo() {
        let repos: Vec<String> = ["a-b", "a.b", "a_c", "Events", "x-1"].map(str::to_owned).into();
        let check =
            |name: &str, expected: Option<&str>| assert_eq!(whole(name, &repos).ok().flatten(), expected, "{name}");
        check("a-b", Some("a-b"));
        check("a_c", Some("a_c"));
        check("x_1", Some("x-1"));
        check("events", Some("Events"));
        check("a", None);
        assert!(matches!(whole("a_b", &repos), Err(Error::AmbiguousTable { .. })));
        assert_eq!(parts("x_1_dead_letter", &repos), [("x-1", "dead_letter".to_owned())]);
        assert!(unknown("event", &repos).to_string().contains("did you mean `events`"));
    }
}
