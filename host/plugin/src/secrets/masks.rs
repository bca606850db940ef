//! What is taken out of whatever a guest says.

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
};

use spout_base::secret::Secret;

/// Secrets shorter than this are not looked for: they would stand in half of all texts.
const SHORTEST: usize = 4;

/// What stands in the place of a secret.
const MASK: &str = "[secret]";

/// The secrets of all instances of a plugin in a pipeline. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks(Arc<RwLock<Vec<Secret>>>);

impl Masks {
    /// Looks for `secret` from here on.
    pub(crate) fn add(&self, secret: &Secret) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if secret.reveal().len() >= SHORTEST && !known.contains(secret) {
            known.push(secret.clone());
            // One that contains another goes first.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        }
    }

    /// `text` without them.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for secret in known.iter().map(Secret::reveal) {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, MASK));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_of_texts() {
        let masks = Masks::default();
        assert!(matches!(masks.hide("s3cret"), Cow::Borrowed(_)));
        for secret in ["s3cret", "s3cret-and-more", "abc"] {
            masks.add(&Secret::from(secret.to_owned()));
        }
        assert_eq!(masks.hide("s3cret, s3cret-and-more, abc"), "[secret], [secret], abc");
    }
}
