//! What a store answered when something failed: what is certain because of it, and how to say it in one line without secrets.

use std::{error::Error as StdError, fmt};

use object_store::Error;

use super::LOCAL;

/// Only there when a request was repeated, and an earlier one may have done what this one was refused.
const REPEATED: &str = " retries, max_retries:";
/// Where a machine in a cloud asks for its own credentials, which is tried when the environment holds none.
const METADATA: [&str; 3] = ["169.254.", "metadata.google", "metadata"];

/// A local write that failed although its name is there: the directory could not be synced. After a failed sync the
/// kernel forgets what it did not write, so that asking again proves nothing.
pub(super) fn in_doubt(error: &Error) -> bool {
    matches!(error, Error::Generic { store, .. } if *store == LOCAL)
}

/// Whether the request was turned down at the first attempt, so that nothing of it can arrive any more.
pub(super) fn refused(error: &Error) -> bool {
    let first = !error.to_string().contains(REPEATED);
    let certain = matches!(
        error,
        Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotFound { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
    );
    first && (certain || conflict(error))
}

/// S3 gives up one of two requests for a name that meet, although neither may have landed. `object_store` calls that the
/// same as a name that is taken.
pub(super) fn conflict(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. }) && error.to_string().contains("409 Conflict")
}

/// The error with the page of XML, the request and whatever is secret taken out of its cause.
pub(super) fn short(error: Error) -> Error {
    let text = error.to_string();
    if !text.contains("Error performing ") {
        return error;
    }
    let source: Box<dyn StdError + Send + Sync> = Box::new(Said(scrubbed(&said(&error, &text))));
    match error {
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path, source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path, source },
        Error::NotFound { path, .. } => Error::NotFound { path, source },
        Error::AlreadyExists { path, .. } => Error::AlreadyExists { path, source },
        Error::Precondition { path, .. } => Error::Precondition { path, source },
        Error::Generic { store, .. } => Error::Generic { store, source },
        other => other,
    }
}

/// The status with the code and message of the answer, or else the innermost cause.
fn said(error: &Error, text: &str) -> String {
    let Some((_, answer)) = text.split_once("status code: ") else { return innermost(error, text) };
    let status = answer.split(": ").next().unwrap_or_default();
    let parts = [tag(answer, "Code"), tag(answer, "Message")];
    let parts = parts.into_iter().flatten().fold(String::new(), |all, part| all + ", " + part);
    let again = if text.contains(REPEATED) { ", also when it was asked again" } else { "" };
    format!("the answer was {status}{parts}{again}")
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim()).filter(|text| !text.is_empty())
}

fn innermost(error: &Error, text: &str) -> String {
    let mut deepest: &dyn StdError = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let asked = text.rsplit("Error performing ").next().and_then(|rest| rest.split(' ').nth(1));
    match asked.and_then(|url| url.split('/').nth(2)) {
        Some(host) if METADATA.iter().any(|server| host.starts_with(server)) => {
            format!("the environment holds no credentials, and this machine has none of its own ({host}: {deepest})")
        }
        Some(host) => format!("no answer from {host}: {deepest}"),
        None => format!("no answer: {deepest}"),
    }
}

/// `text` without the secrets of the environment.
pub(super) fn scrubbed(text: &str) -> String {
    const SECRET: [&str; 5] = ["KEY", "SECRET", "TOKEN", "SAS", "CREDENTIAL"];
    const PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
    let mut clean = text.to_owned();
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let secret =
            PREFIXES.iter().any(|start| name.starts_with(start)) && SECRET.iter().any(|part| name.contains(part));
        if secret && value.len() >= 4 {
            clean = clean.replace(value.as_ref(), "***");
        }
    }
    clean
}

/// What was answered.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Said {}
