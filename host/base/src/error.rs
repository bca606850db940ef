//! What every room's error has in common: a kind that says what happens next, and a code with a page.

use std::error::Error as StdError;

/// The cause below an error of ours; never printed by us, the command line walks the chain.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// What the pipeline does about an error. Decisions are taken by kind, never by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The user edits a spec, a setting or a command line.
    Spec,
    /// One message is bad: divert it and go on.
    Message,
    /// A plugin broke its contract or its quota: stop this pipeline.
    Plugin,
    /// Something outside is not there now: back off and try again.
    Unavailable,
    /// Somebody else committed first: read the head again.
    Conflict,
    /// A newer writer owns the branch: yield to it.
    Fenced,
    /// Stored data is not what was written: stop and keep the evidence.
    Corrupt,
    /// A bug of the host.
    Internal,
}

/// An error with a kind and a code; the code has a page in `docs/errors/` that `spout explain` prints.
pub trait Coded: StdError + Send + Sync + 'static {
    /// What happens next.
    fn kind(&self) -> Kind;

    /// `E` and four digits, such as `E0203`. Never reused.
    fn code(&self) -> &'static str;
}

/// The causes of `error`, the nearest first, each said once: many messages end with that of their cause.
#[must_use]
pub fn causes(error: &dyn StdError) -> Vec<String> {
    let (mut causes, mut said, mut next) = (Vec::new(), error.to_string(), error.source());
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.ends_with(&text) {
            causes.push(text.clone());
            said = text;
        }
        next = cause.source();
    }
    causes
}

/// `error` and its [`causes`] in one line.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}
