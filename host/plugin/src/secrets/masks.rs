//! What is taken out of whatever a guest says.

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
};

use spout_base::secret::Secret;
use spout_codec::Attribute;

/// Secrets shorter than this are not looked for: they would stand in half of all texts.
const SHORTEST: usize = 4;

/// What stands in the place of a secret.
const MASK: &str = "[secret]";

/// Most texts that are looked for: a guest chooses what stands before a secret in base64, and so how many texts that makes.
const MOST: usize = 256;

/// The secrets of all instances of a plugin in a pipeline. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks(Arc<RwLock<Vec<Secret>>>);

impl Masks {
    /// Looks for `secret` from here on, also as JSON has it.
    pub(crate) fn add(&self, secret: &Secret) {
        self.look_for(secret.clone());
        let quoted = serde_json::to_string(secret.reveal()).unwrap_or_default();
        self.look_for(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned().into());
    }

    /// Looks for what was written of a secret: the peer may send that back.
    pub(crate) fn add_written(&self, bytes: &[u8]) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            self.look_for(text.to_owned().into());
        }
    }

    fn look_for(&self, secret: Secret) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if secret.reveal().len() >= SHORTEST && known.len() < MOST && !known.contains(&secret) {
            known.push(secret);
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

    /// Whether one of them stands in `bytes`.
    fn are_in(&self, bytes: &[u8]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .map(|secret| secret.reveal().as_bytes())
            .any(|secret| bytes.windows(secret.len()).any(|part| part == secret))
    }

    /// Takes them out of what is shown of messages: why some are dead letters.
    pub(crate) fn hide_in(&self, attributes: &mut [Attribute]) {
        for fault in attributes.iter_mut().filter(|attribute| attribute.name == "fault") {
            if self.are_in(&fault.value) {
                fault.value = self.hide(&String::from_utf8_lossy(&fault.value)).into_owned().into_bytes();
            }
        }
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
        masks.add(&Secret::from("a\"b c\\d".to_owned()));
        assert_eq!(masks.hide(r#"a"b c\d and {"pass":"a\"b c\\d"}"#), r#"[secret] and {"pass":"[secret]"}"#);
        masks.add_written(b"dXNlcjpzM2NyZXQ=");
        assert_eq!(masks.hide("Basic dXNlcjpzM2NyZXQ="), "Basic [secret]");
        let attribute = |name: &str, value: &[u8]| Attribute { first: 0, name: name.into(), value: value.into() };
        let mut all =
            [attribute("file", b"s3cret"), attribute("fault", b"x.y \xff s3cret"), attribute("fault", b"\xff")];
        masks.hide_in(&mut all);
        // What is data stays as it is, and so does a reason without a secret.
        let left: Vec<&[u8]> = all.iter().map(|attribute| attribute.value.as_slice()).collect();
        assert_eq!(left, [&b"s3cret"[..], "x.y \u{fffd} [secret]".as_bytes(), b"\xff"]);
    }
}
