//! A token that clients have to send, compared so that the time it takes says nothing about it.

use sha2::{Digest as _, Sha256};
use spout_base::secret::Secret;

/// The token, as a digest.
#[derive(Clone, Copy)]
pub(crate) struct Password([u8; 32]);

impl Password {
    pub(crate) fn of(secret: &Secret) -> Self {
        Self(digest(secret.reveal().as_bytes()))
    }

    /// Whether `sent` is it: digests are compared, to the end.
    pub(crate) fn is(&self, sent: &[u8]) -> bool {
        self.0.iter().zip(digest(sent)).fold(0, |different, (ours, theirs)| different | (ours ^ theirs)) == 0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
