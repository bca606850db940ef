//! Secrets of the thread in the place of the host's, for tests of plugin logic outside the sandbox. All may be seen.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256, Sha512};

use super::{Form, Hash, Scram};
use crate::{Error, Result, net::hosted};

thread_local! {
    static SECRETS: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// Grants this thread a secret.
pub(crate) fn set(name: &str, secret: &str) {
    SECRETS.with_borrow_mut(|all| all.insert(name.to_owned(), secret.to_owned()));
}

pub(super) struct Secret(String);

fn digest(hash: Hash, bytes: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(bytes).to_vec(),
        Hash::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

/// RFC 2104.
fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    let block = if hash == Hash::Sha256 { 64 } else { 128 };
    let mut padded = if key.len() > block { digest(hash, key) } else { key.to_vec() };
    padded.resize(block, 0);
    let with = |pad: u8, data: &[u8]| {
        let mut bytes: Vec<u8> = padded.iter().map(|byte| byte ^ pad).collect();
        bytes.extend_from_slice(data);
        digest(hash, &bytes)
    };
    with(0x5c, &with(0x36, data))
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

impl Secret {
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = SECRETS.with_borrow(|all| all.get(name).cloned());
        let none =
            || Error::fatal("net.denied", format!("there is no secret `{name}`; `testing::set_secret` grants one"));
        found.map(Self).ok_or_else(none)
    }

    fn written(&self, form: Form<'_>) -> Vec<u8> {
        match form {
            Form::Raw => self.0.clone().into_bytes(),
            Form::Json => serde_json::to_vec(&self.0).unwrap_or_default(),
            Form::Base64(before) => STANDARD.encode([before, self.0.as_bytes()].concat()).into_bytes(),
        }
    }

    pub(super) fn length(&self, form: Form<'_>) -> usize {
        self.written(form).len()
    }

    pub(super) fn send(&self, to: &mut hosted::Connection, form: Form<'_>, within: Duration) -> Result<()> {
        struct Whole<'a>(&'a mut hosted::Connection, Instant);
        impl io::Write for Whole<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.send(bytes, self.1.saturating_duration_since(crate::now()))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        Ok(Whole(to, crate::now() + within).write_all(&self.written(form))?)
    }

    pub(super) fn hmac(&self, hash: Hash, data: &[u8]) -> Vec<u8> {
        hmac(hash, self.0.as_bytes(), data)
    }

    pub(super) fn scram(&self, hash: Hash, salt: &[u8], iterations: u32, message: &[u8]) -> Result<Scram> {
        if !(4096..=1_000_000).contains(&iterations) {
            return Err(Error::fatal("net.invalid", format!("the server asks for {iterations} rounds of SCRAM")));
        }
        let mut round = hmac(hash, self.0.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
        let mut salted = round.clone();
        for _ in 1..iterations {
            round = hmac(hash, self.0.as_bytes(), &round);
            salted = xor(&salted, &round);
        }
        let client = hmac(hash, &salted, b"Client Key");
        let proof = xor(&client, &hmac(hash, &digest(hash, &client), message));
        Ok(Scram { proof, server_signature: hmac(hash, &hmac(hash, &salted, b"Server Key"), message) })
    }

    pub(super) fn sign_v4(&self, date: &str, region: &str, service: &str, text: &str) -> String {
        let first = format!("AWS4{}", self.0).into_bytes();
        let parts = [date, region, service, "aws4_request", text];
        let signature = parts.iter().fold(first, |key, part| hmac(Hash::Sha256, &key, part.as_bytes()));
        signature.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as in the sandbox")]
    pub(super) fn reveal(&self) -> Result<String> {
        Ok(self.0.clone())
    }
}
