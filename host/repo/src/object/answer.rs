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

/// Whether the service does not know who asks, or does not let them. A listing says so in its text alone.
pub(super) fn denied(error: &Error) -> bool {
    let text = error.to_string();
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
        || ["401", "403"].iter().any(|status| text.contains(&format!("status code: {status}")))
}

/// Whether there is nothing at all at the place that was asked, not even a bucket.
pub(super) fn nowhere(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) || error.to_string().contains("status code: 404")
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

/// Who was asked, and the status with the code and message of the answer, or else the innermost cause.
fn said(error: &Error, text: &str) -> String {
    let asked = text.rsplit("Error performing ").next().and_then(|rest| rest.split(' ').nth(1));
    let host = asked.and_then(|url| url.split('/').nth(2)).unwrap_or("the store");
    let what = match text.split_once("status code: ") {
        Some((_, answer)) => answered(answer),
        None => format!("no answer from {host}, {}", innermost(error)),
    };
    let again = if text.contains(REPEATED) { ", even after retries" } else { "" };
    let ours = METADATA.iter().any(|server| host.starts_with(server));
    let none =
        if ours { "there are no credentials in the environment, and this machine has none of its own: " } else { "" };
    format!("{none}{what}{again}")
}

fn answered(answer: &str) -> String {
    let status = answer.split(": ").next().unwrap_or_default();
    let parts = [tag(answer, "Code"), tag(answer, "Message")];
    let parts = parts.into_iter().flatten().fold(String::new(), |all, part| all + ", " + part);
    format!("the answer was {status}{parts}")
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim()).filter(|text| !text.is_empty())
}

fn innermost(error: &Error) -> String {
    let mut deepest: &dyn StdError = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn an_answer_is_one_line() {
        let check = |text: &str, expected: &str| {
            let short = short(generic(text)).to_string();
            assert_eq!(short.strip_prefix("Generic S3 error: ").unwrap(), expected);
        };
        check(
            "Error performing PUT http://h:1/b/a in 8ms - Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n\
             <Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message><AWSAccessKeyId>AK</AWSAccessKeyId></Error>",
            "the answer was 403 Forbidden, SignatureDoesNotMatch, It does not match.",
        );
        check(
            "Error performing list request: Error performing GET http://h:1/b in 21s, after 9 retries, max_retries: 10, \
             retry_timeout: 20s  - Server returned non-2xx status code: 503 Service Unavailable: ",
            "the answer was 503 Service Unavailable, even after retries",
        );
        check("the disk is on fire", "the disk is on fire");
        let none =
            short(generic("Error performing PUT http://169.254.169.254/latest in 1s - status code: 403 Forbidden: "));
        assert!(none.to_string().contains("no credentials"), "{none}");
    }

    #[test]
    fn what_was_repeated_may_have_landed() {
        let refused_with = |text: &str| {
            let source = text.to_owned().into();
            refused(&Error::PermissionDenied { path: "a".into(), source })
        };
        assert!(refused_with("Error performing PUT http://h/b in 8ms - status code: 403 Forbidden: "));
        assert!(!refused_with(
            "Error performing PUT http://h/b in 8ms, after 1 retries, max_retries: 10 - status code: 403"
        ));
        assert!(!refused(&generic("Error performing PUT http://h/b in 30s - HTTP error: timed out")));
    }
}
