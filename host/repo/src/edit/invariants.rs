//! What must hold between a new commit and the head it follows; all of it is checked before every creation.

use std::collections::{BTreeMap, HashMap, HashSet};

use spout_data::Advance;

use crate::{
    error::Error,
    log::{Blob, Commit, FileAdded, Head, Holder, Moved, PutMode},
    path,
    tree::Tree,
};

/// A new commit with what it is about to follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Following<'a> {
    pub(crate) commit: &'a Commit<Moved>,
    pub(crate) advance: &'a Advance,
    pub(crate) head: &'a Head,
    /// Of the head's files those that matter: see `State::surroundings`.
    pub(crate) tree: &'a Tree,
}

type Invariant = fn(Following<'_>) -> Result<(), Error>;

const ALL: [Invariant; 12] = [
    sequence_is_next,
    parent_is_head,
    number_is_next,
    follows_newest_record,
    epoch_is_not_lower,
    marker_starts_at_head,
    offsets_never_go_down,
    paths_are_valid,
    removed_is_there,
    puts_fit,
    no_path_is_doubled,
    something_moves,
];

/// Checks every invariant.
pub(crate) fn check(following: Following<'_>) -> Result<(), Error> {
    ALL.iter().try_for_each(|invariant| invariant(following))
}

fn not_next(commit: &Commit<Moved>, what: &'static str, expected: impl ToString, found: impl ToString) -> Error {
    Error::NotNext {
        branch: commit.header.branch.clone(),
        what,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn sequence_is_next(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    if commit.header.sequence == head.sequence + 1 {
        Ok(())
    } else {
        Err(not_next(commit, "its sequence", head.sequence + 1, commit.header.sequence))
    }
}

fn parent_is_head(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    let head = head.commit.as_ref().map(|head| &head.header.id);
    let shown = |id: Option<&String>| id.cloned().unwrap_or_else(|| "none".to_owned());
    if commit.parent.as_ref() == head {
        Ok(())
    } else {
        Err(not_next(commit, "its parent", shown(head), shown(commit.parent.as_ref())))
    }
}

fn number_is_next(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    let expected = head.commit.as_ref().map_or(0, |head| head.number) + 1;
    if commit.number == expected { Ok(()) } else { Err(not_next(commit, "its number", expected, commit.number)) }
}

fn follows_newest_record(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    if commit.header.previous == head.checksum {
        Ok(())
    } else {
        Err(not_next(commit, "the checksum before it", &head.checksum, &commit.header.previous))
    }
}

fn epoch_is_not_lower(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    if commit.header.epoch >= head.epoch {
        Ok(())
    } else {
        Err(Error::Fenced {
            repo: commit.header.repo.clone(),
            branch: commit.header.branch.clone(),
            ours: commit.header.epoch,
            theirs: head.epoch,
            by: taker(head.holder.as_ref()),
        })
    }
}

/// Who took a branch over, for people.
pub(crate) fn taker(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process that moved the branch".to_owned(), |holder| holder.process.to_string())
}

fn marker_starts_at_head(Following { commit, advance, head, .. }: Following<'_>) -> Result<(), Error> {
    if commit.base.is_some() {
        return Ok(());
    }
    match advance.gap(head.marker()) {
        None => Ok(()),
        Some((partition, expected, found)) => {
            Err(Error::MarkerGap { branch: commit.header.branch.clone(), partition, expected, found })
        }
    }
}

/// Except where the source was re-entered or the branch was reverted, which the record says.
fn offsets_never_go_down(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    if commit.base.is_some() {
        return Ok(());
    }
    let back = commit.marker.moved.iter().find_map(|(&partition, entry)| {
        let (there, to) = (head.marker().partitions.get(&partition)?, entry.position.offset);
        let entered_anew = commit.jumped.get(&partition).is_some_and(|&jumped| jumped <= to);
        (to < there.position.offset && !entered_anew).then_some((partition, there.position.offset, to))
    });
    match back {
        None => Ok(()),
        Some((partition, from, to)) => {
            Err(Error::MarkerBack { branch: commit.header.branch.clone(), partition, from, to })
        }
    }
}

fn paths_are_valid(Following { commit, .. }: Following<'_>) -> Result<(), Error> {
    let paths = commit.files.iter().map(|file| &file.path).chain(&commit.removed);
    for path in paths {
        if path::file_path(path)? != *path {
            return Err(Error::BadPath { path: path.clone(), reason: "it is not in its canonical form" });
        }
    }
    Ok(())
}

fn removed_is_there(Following { commit, tree, .. }: Following<'_>) -> Result<(), Error> {
    match commit.removed.iter().find(|path| tree.get(path).is_none()) {
        None => Ok(()),
        Some(path) => Err(Error::NotThere { branch: commit.header.branch.clone(), path: path.clone() }),
    }
}

/// No path is both file and directory, no file grows by another format, and what is named has a place.
fn puts_fit(Following { commit, tree, .. }: Following<'_>) -> Result<(), Error> {
    let removed: HashSet<_> = commit.removed.iter().map(String::as_str).collect();
    let mut new = Tree::new(&commit.header.repo);
    for file in &commit.files {
        let gone = |path: &str| removed.contains(path);
        let clash = new.clash(&file.path, |_| false).or_else(|| tree.clash(&file.path, gone));
        if let Some(other) = clash {
            return Err(Error::PathClash { path: file.path.clone(), other: other.to_owned() });
        }
        let there = new.get(&file.path).or_else(|| tree.get(&file.path).filter(|_| !gone(&file.path)));
        if let Some(there) = there.filter(|_| file.how == PutMode::Append) {
            grows(file, there.format.map(|format| format.to_string()))?;
        }
        new.put(file);
    }
    Ok(())
}

/// No two paths, of files or directories, differ in case or Unicode form alone.
fn no_path_is_doubled(Following { commit, tree, .. }: Following<'_>) -> Result<(), Error> {
    let removed: HashSet<_> = commit.removed.iter().collect();
    let mut spelled: HashMap<String, &str> = HashMap::new();
    for file in tree.files().filter(|file| !removed.contains(&file.path)) {
        spelled.extend(with_directories(&file.path).map(|part| (path::folded(part), part)));
    }
    for file in &commit.files {
        for part in with_directories(&file.path) {
            match *spelled.entry(path::folded(part)).or_insert(part) {
                there if there == part => {}
                other => return Err(Error::PathDouble { path: file.path.clone(), other: other.to_owned() }),
            }
        }
    }
    Ok(())
}

fn with_directories(path: &str) -> impl Iterator<Item = &str> {
    path::directories(path).chain([path])
}

fn grows(file: &FileAdded, there: Option<String>) -> Result<(), Error> {
    let new = file.table.as_ref().map(|table| table.format.to_string());
    let shown = |format: Option<String>| format.unwrap_or_else(|| "plain bytes".to_owned());
    if new == there {
        Ok(())
    } else {
        Err(Error::MixedFormats { path: file.path.clone(), there: shown(there), new: shown(new) })
    }
}

fn something_moves(Following { commit, head, .. }: Following<'_>) -> Result<(), Error> {
    let hashes = |state: Option<&BTreeMap<String, Blob>>| -> Vec<_> {
        state.into_iter().flatten().map(|(key, blob)| (key.clone(), blob.sha256.clone())).collect()
    };
    let same_state = hashes(Some(&commit.state)) == hashes(head.commit.as_ref().map(|head| &head.state));
    let same_as_head = commit.marker.moved.is_empty() && same_state;
    if same_as_head && commit.base.is_none() && commit.files.is_empty() && commit.removed.is_empty() {
        Err(Error::NothingMoved { branch: commit.header.branch.clone() })
    } else {
        Ok(())
    }
}
