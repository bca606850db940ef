//! Secrets of the host, as the interface `secrets` has them.

use std::time::Duration;

use super::{Form, Hash, Scram};
use crate::{
    Error, Result,
    net::hosted::{self, ms, told},
    wit::network::spout::plugin::{network::Failure, secrets as wit},
};

pub(super) struct Secret(wit::Secret);

fn failed(failure: Failure) -> Error {
    told(failure, Duration::MAX).into()
}

fn hash(hash: Hash) -> wit::Hash {
    match hash {
        Hash::Sha256 => wit::Hash::Sha256,
        Hash::Sha512 => wit::Hash::Sha512,
    }
}

fn form(form: Form<'_>) -> wit::Form {
    match form {
        Form::Raw => wit::Form::Raw,
        Form::Json => wit::Form::Json,
        Form::Base64(before) => wit::Form::Base64(before.to_vec()),
    }
}

impl Secret {
    pub(super) fn named(name: &str) -> Result<Self> {
        wit::Secret::named(name).map(Self).map_err(failed)
    }

    pub(super) fn length(&self, as_form: Form<'_>) -> usize {
        self.0.length(&form(as_form)) as usize
    }

    pub(super) fn send(&self, to: &mut hosted::Connection, as_form: Form<'_>, within: Duration) -> Result<()> {
        self.0.write(&to.0, &form(as_form), ms(within)).map_err(failed)
    }

    pub(super) fn hmac(&self, algorithm: Hash, data: &[u8]) -> Vec<u8> {
        self.0.hmac(hash(algorithm), data)
    }

    pub(super) fn scram(&self, algorithm: Hash, salt: &[u8], iterations: u32, message: &[u8]) -> Result<Scram> {
        let made = self.0.scram(hash(algorithm), salt, iterations, message).map_err(failed)?;
        Ok(Scram { proof: made.proof, server_signature: made.server_signature })
    }

    pub(super) fn sign_v4(&self, date: &str, region: &str, service: &str, text: &str) -> String {
        self.0.sign_v4(date, region, service, text)
    }

    pub(super) fn reveal(&self) -> Result<String> {
        let bytes = self.0.reveal().map_err(failed)?;
        String::from_utf8(bytes).map_err(|_| Error::fatal("secret.text", "the secret is not UTF-8 text"))
    }
}
