//! Names that are not whole references: `repo@branch`, and a commit where its repo is known.

use spout_repo::{BranchInfo, Commit, Reference};

use crate::{Error, Result};

/// The two parts of `repo@name`.
///
/// # Errors
/// [`Error::Usage`].
pub fn pair<'a>(text: &'a str, verb: &'static str, what: &str) -> Result<(&'a str, &'a str)> {
    match text.split_once('@') {
        Some((repo, name)) if !repo.is_empty() && !name.is_empty() => Ok((repo, name)),
        _ => Err(Error::Usage { verb, what: format!("`{text}` names no {what}; write it like repo@{what}") }),
    }
}

/// The branch of `repo` or `repo@branch`.
#[must_use]
pub fn branch<'a>(text: &'a str, otherwise: &'a str) -> (&'a str, &'a str) {
    text.split_once('@').unwrap_or((text, otherwise))
}

/// The commit that `text` names within `repo`: `dev`, `~2` of `branch`, an id, or a whole reference.
///
/// # Errors
/// [`Error::Usage`], or that of a wrong reference.
pub fn within(repo: &str, branch: &str, text: &str, verb: &'static str) -> Result<Reference> {
    let whole = match text {
        relative if relative.starts_with(['~', '^', '{']) => format!("{repo}@{branch}{relative}"),
        whole if whole.contains('@') => whole.to_owned(),
        target => format!("{repo}@{target}"),
    };
    let reference: Reference = whole.parse()?;
    let usage = |what| Err(Error::Usage { verb, what });
    match &reference {
        other if other.repo != repo => usage(format!("`{text}` is a commit of a repo other than {repo}")),
        other if other.path.is_some() => usage(format!("`{text}` names a file; a commit is meant here")),
        _ => Ok(reference),
    }
}

/// The branch that a command on `commit` is about: the one that was named, or the one it was made on.
#[must_use]
pub fn branch_of(branches: &[BranchInfo], reference: &Reference, commit: &Commit) -> String {
    let named = branches.iter().any(|branch| branch.name == reference.target);
    if named { reference.target.clone() } else { commit.header.branch.clone() }
}

/// Whether `target` could be the start of a commit's id.
#[must_use]
pub fn is_id(target: &str) -> bool {
    target.len() >= 4 && target.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `directory` and `name`, one below the other.
#[must_use]
pub fn join(directory: &str, name: &str) -> String {
    format!("{}/{}", directory.trim_end_matches('/'), name.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_named_within_its_repo() {
        let check = |text: &str, expected: Option<&str>| {
            let found = within("r", "dev", text, "revert").ok().map(|reference| reference.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("~2", Some("r@dev~2"));
        check("^", Some("r@dev~1"));
        check("master~1", Some("r@master~1"));
        check("0123abcd", Some("r@0123abcd"));
        check("r@v1", Some("r@v1"));
        check("other@v1", None);
        check("r@v1:/a", None);
        check("a b", None);
    }

    #[test]
    fn pairs_have_both_parts() {
        assert_eq!(pair("r@b", "create branch", "branch").ok(), Some(("r", "b")));
        for wrong in ["r", "r@", "@b", ""] {
            assert!(pair(wrong, "create branch", "branch").is_err(), "{wrong}");
        }
        assert_eq!((join("/", "a"), join("/x/", "a/b")), ("/a".to_owned(), "/x/a/b".to_owned()));
    }
}
