//! An error as JSON: what a server answers where a verb fails, and what a client makes of it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::error::{Coded, Kind};

use crate::error::{Causes, Error};

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Its code; `spout explain` has a page for each.
    pub code: String,
    /// What to do about it in general: `spec` and `message` are the caller's to change, `unavailable` and `conflict` may go away
    /// by themselves, the others are for whoever runs the server.
    pub kind: String,
    /// What, where, and what to do.
    pub message: String,
    /// What was behind it, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Where more is said.
    pub advice: String,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Spec, "spec"),
    (Kind::Message, "message"),
    (Kind::Plugin, "plugin"),
    (Kind::Unavailable, "unavailable"),
    (Kind::Conflict, "conflict"),
    (Kind::Fenced, "fenced"),
    (Kind::Corrupt, "corrupt"),
    (Kind::Internal, "internal"),
];

impl Problem {
    /// What `error` comes down to, each cause said once.
    #[must_use]
    pub fn of(error: &impl Coded) -> Self {
        let message = error.to_string();
        let causes = spout_base::error::causes(error);
        let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind()).map_or("internal", |(_, word)| word);
        let code = error.code().to_owned();
        Self { advice: format!("spout explain {code}"), code, kind: kind.to_owned(), message, causes }
    }

    /// The error that it was.
    #[must_use]
    pub fn into_error(self) -> Error {
        let Self { code, kind, message, causes, .. } = self;
        let kind = KINDS.iter().find(|(_, word)| *word == kind).map_or(Kind::Internal, |(kind, _)| *kind);
        Error::Remote { message, kind, code: kept(&code), causes: Causes::of(causes) }
    }
}

/// The code for as long as the process runs. Anything that is no code of ours is none, so that a server cannot fill memory.
fn kept(code: &str) -> &'static str {
    static CODES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let ours = code.len() == 5 && code.starts_with("E0") && code[2..].bytes().all(|byte| byte.is_ascii_digit());
    if !ours {
        return "E0842";
    }
    let mut codes = CODES.lock().unwrap_or_else(PoisonError::into_inner);
    match codes.get(code) {
        Some(known) => known,
        None => {
            let known: &'static str = Box::leak(code.to_owned().into_boxed_str());
            codes.insert(known);
            known
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_same_after_a_journey() {
        let before = Error::RepoExists { repo: "a".into() };
        let problem = Problem::of(&before);
        assert_eq!(problem.advice, "spout explain E0826");
        let after = problem.clone().into_error();
        assert_eq!((after.to_string(), after.code(), after.kind()), (before.to_string(), "E0826", Kind::Spec));
        let deep = Problem { causes: vec!["b".into(), "c".into()], ..problem };
        assert_eq!(Problem::of(&deep.clone().into_error()), deep);
    }

    #[test]
    fn a_code_that_is_none_of_ours_says_so() {
        for wrong in ["", "E08", "X0801", "E0801\n", "E08é"] {
            assert_eq!(kept(wrong), "E0842", "{wrong}");
        }
    }
}
