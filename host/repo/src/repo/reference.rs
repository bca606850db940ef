//! How people name a commit: `repo@branch~2:/path`, `repo@branch{2026-01-31T12:00:00Z}`.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{error::Error, path};

/// The branch that is meant where none is named.
pub const MASTER: &str = "master";

/// Names a commit, and maybe a file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repo.
    pub repo: String,
    /// A branch, a commit id, or the start of one.
    pub target: String,
    /// The newest commit of the target that is no younger than this; milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// How many commits before that.
    pub back: u64,
    /// A file or directory in the commit.
    pub path: Option<String>,
}

impl Reference {
    /// The head of `branch` of `repo`.
    #[must_use]
    pub fn head(repo: &str, branch: &str) -> Self {
        Self { repo: repo.to_owned(), target: branch.to_owned(), at_ms: None, back: 0, path: None }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::BadReference { text: text.chars().take(200).collect(), reason };
        // A moment has colons of its own.
        let braced = text.find('}').map_or(0, |at| at + 1);
        let colon = text
            .get(braced..)
            .and_then(|rest| rest.find(':'))
            .map(|at| (&text[..braced + at], &text[braced + at + 1..]));
        let (commit, file) = match colon {
            Some((commit, file)) => (commit, Some(file)),
            None => (text, None),
        };
        let (repo, rest) = match commit.split_once('@') {
            Some((_, "")) => return Err(wrong("nothing follows the @")),
            Some((repo, rest)) => (repo, rest),
            None => match commit.find(['~', '^', '{']) {
                Some(at) => commit.split_at(at),
                None => (commit, ""),
            },
        };
        let (target, steps) = rest.split_at(rest.find(['~', '^', '{']).unwrap_or(rest.len()));
        let (moment, steps) = match steps.strip_prefix('{') {
            Some(inner) => inner
                .split_once('}')
                .map(|(moment, steps)| (Some(moment), steps))
                .ok_or_else(|| wrong("a `}` is missing"))?,
            None => (None, steps),
        };
        let at_ms = moment
            .map(|moment| {
                milliseconds(moment)
                    .ok_or_else(|| wrong("write a time between the braces, like 2026-01-31T12:00:00Z or 2026-01-31"))
            })
            .transpose()?;
        let target = if target.is_empty() { MASTER } else { target };
        path::repo_name(repo)?;
        if !target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(wrong("a branch or commit id has only letters, digits, `-`, `_` and `.`"));
        }
        let back = back(steps).ok_or_else(|| wrong("only ~, ^, ~2 or ^2 may follow the branch"))?;
        let file = match file {
            None => None,
            Some("" | "/") => Some("/".to_owned()),
            Some(file) => Some(path::file_path(file.strip_suffix('/').unwrap_or(file))?),
        };
        Ok(Self { repo: repo.to_owned(), target: target.to_owned(), at_ms, back, path: file })
    }
}

/// A moment as RFC 3339, or a day, which means its end in UTC: all commits of that day are in.
fn milliseconds(moment: &str) -> Option<i64> {
    if let Ok(at) = moment.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    let end = moment.parse::<Date>().ok()?.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(end.timestamp().as_millisecond() - 1)
}

/// The sum of `~2^^~`: each sign goes one back, or as many as the number after it says.
fn back(mut steps: &str) -> Option<u64> {
    let mut sum = 0u64;
    while !steps.is_empty() {
        steps = steps.strip_prefix(['~', '^'])?;
        let (digits, rest) = steps.split_at(steps.find(['~', '^']).unwrap_or(steps.len()));
        let step = if digits.is_empty() { 1 } else { digits.parse().ok()? };
        sum = sum.checked_add(step)?;
        steps = rest;
    }
    Some(sum)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.target)?;
        if let Some(at) = self.at_ms.and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok()) {
            write!(f, "{{{at}}}")?;
        }
        if self.back > 0 {
            write!(f, "~{}", self.back)?;
        }
        self.path.as_ref().map_or(Ok(()), |path| write!(f, ":{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_as_in_pachctl() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(text.parse::<Reference>().ok().map(|read| read.to_string()).as_deref(), expected, "{text}");
        };
        check("events", Some("events@master"));
        check("events@dev", Some("events@dev"));
        check("events@dev~2", Some("events@dev~2"));
        check("events@dev^^", Some("events@dev~2"));
        check("events@dev^3~", Some("events@dev~4"));
        check("events~1", Some("events@master~1"));
        check("events@0f3a:/a/b.txt", Some("events@0f3a:/a/b.txt"));
        check("events@dev:a.txt", Some("events@dev:/a.txt"));
        check("events@dev{2026-01-31T12:00:00Z}~1:/a", Some("events@dev{2026-01-31T12:00:00Z}~1:/a"));
        check("events{2026-01-31}", Some("events@master{2026-01-31T23:59:59.999Z}"));
        check("events@{2026-01-31T12:00:00+01:00}", Some("events@master{2026-01-31T11:00:00Z}"));
        check("events@dev{yesterday}", None);
        check("events@dev{2026-01-31", None);
        check("events@dev:/", Some("events@dev:/"));
        check("events@dev:/a/", Some("events@dev:/a"));
        for bad in
            ["", "@dev", "events@", "events@dev~x", "events@dev~99999999999999999999", "e@d:../x", "a/b@c", "a@b c"]
        {
            check(bad, None);
        }
    }
}
