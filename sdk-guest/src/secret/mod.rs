//! Secrets by name, which a plugin uses without seeing them.
//!
//! ```yaml
//! grants:
//!   kafka: {secrets: {password: {env: KAFKA_PASSWORD}}}
//! ```
//!
//! The host makes proofs of a secret ([`Secret::hmac`], [`Secret::scram`], [`Secret::sign_v4`]) and writes it to a connection
//! ([`Secret::send`]). A plugin sees the secret itself only where the spec says `reveal: true`.
//!
//! [`ScramClient`] is the client's side of SCRAM, [`Aws`] signs requests to AWS and what speaks like it. Outside the sandbox secrets
//! are those of [`crate::testing::set_secret`].

mod aws;
mod scram;

#[cfg_attr(target_arch = "wasm32", path = "hosted.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native.rs")]
mod sys;

use std::{fmt, time::Duration};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::sys::set;
pub use self::{
    aws::{Aws, Unsigned},
    scram::ScramClient,
};
use crate::{Result, net::Connection};

/// The function that a proof is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// As it is.
    Raw,
    /// As a text of JSON, with its quotes.
    Json,
    /// The base64 of these bytes and the secret behind them: `b"user:"` for HTTP's Basic.
    Base64(&'a [u8]),
}

/// The two ends of an exchange after RFC 5802.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scram {
    /// What the client sends as its proof.
    pub proof: Vec<u8>,
    /// What a server has to answer that knows the secret.
    pub server_signature: Vec<u8>,
}

/// A secret of the spec.
pub struct Secret {
    inner: sys::Secret,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[expect(clippy::len_without_is_empty, reason = "none is empty")]
impl Secret {
    /// The secret that the spec grants by this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self> {
        Ok(Self { inner: sys::Secret::named(name)? })
    }

    /// The secret `password`, if the spec grants it; a `user` of the settings needs it.
    ///
    /// # Errors
    /// If there is a user without it.
    pub fn password(user: Option<&str>) -> Result<Option<Self>> {
        match (Self::named("password"), user) {
            (Ok(password), _) => Ok(Some(password)),
            (Err(_), None) => Ok(None),
            (Err(_), Some(_)) => {
                Err(crate::Error::invalid_config("a `username` needs the secret `password`; grant it under `secrets`"))
            }
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len_as(Form::Raw)
    }

    /// How many bytes it has in this form.
    #[must_use]
    pub fn len_as(&self, form: Form<'_>) -> usize {
        self.inner.length(form)
    }

    /// Has the host write it to a connection to an endpoint; with TLS only by TLS.
    ///
    /// # Errors
    /// If it may not be written there, or cannot.
    pub fn send(&self, to: &mut Connection) -> Result<()> {
        self.send_as(to, Form::Raw)
    }

    /// As [`Secret::send`], in this form.
    ///
    /// # Errors
    /// As for [`Secret::send`].
    pub fn send_as(&self, to: &mut Connection, form: Form<'_>) -> Result<()> {
        let within: Duration = to.write_timeout;
        self.inner.send(&mut to.inner, form, within)
    }

    /// The HMAC of `data` with the secret as its key.
    #[must_use]
    pub fn hmac(&self, hash: Hash, data: &[u8]) -> Vec<u8> {
        self.inner.hmac(hash, data)
    }

    /// The proof of SCRAM for this message; see [`ScramClient`].
    ///
    /// # Errors
    /// If the server asks for less than 4,096 rounds or more than a million.
    pub fn scram(&self, hash: Hash, salt: &[u8], iterations: u32, auth_message: &[u8]) -> Result<Scram> {
        self.inner.scram(hash, salt, iterations, auth_message)
    }

    /// The signature after AWS's version 4 of this string, in hexadecimal digits; see [`Aws`].
    #[must_use]
    pub fn sign_v4(&self, date: &str, region: &str, service: &str, string_to_sign: &str) -> String {
        self.inner.sign_v4(date, region, service, string_to_sign)
    }

    /// The secret itself, where the spec says `reveal: true`.
    ///
    /// # Errors
    /// If the spec does not.
    pub fn reveal(&self) -> Result<String> {
        self.inner.reveal()
    }
}
