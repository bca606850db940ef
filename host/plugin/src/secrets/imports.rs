//! `secrets`: what a guest calls.

use std::{num::NonZeroU32, sync::Arc};

use spout_base::panicked::go_on;
use wasmtime::component::Resource;

use super::{
    Granted,
    proofs::{self, Hash, ROUNDS},
};
use crate::{
    bindings::spout::plugin::{
        network::{Cause, Failure},
        secrets::{Form, Hash as WitHash, Host, HostSecret, Scram},
    },
    host::Held,
    net::{connection::Dialled, failure, until},
};

/// A secret in the hands of a guest.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Handle(Arc<Granted>);

impl Granted {
    fn bytes(&self) -> &[u8] {
        self.secret.reveal().as_bytes()
    }

    /// The secret as it is written.
    fn written(&self, form: &Form) -> Vec<u8> {
        match form {
            Form::Raw => self.bytes().to_vec(),
            Form::Json => serde_json::to_vec(self.secret.reveal()).unwrap_or_default(),
            Form::Base64(before) => proofs::base64(before, self.bytes()),
        }
    }
}

fn hash(algorithm: WitHash) -> Hash {
    match algorithm {
        WitHash::Sha256 => Hash::Sha256,
        WitHash::Sha512 => Hash::Sha512,
    }
}

impl Held {
    fn granted(&self, secret: &Resource<Handle>) -> wasmtime::Result<Arc<Granted>> {
        Ok(Arc::clone(&self.table.get(secret)?.0))
    }
}

impl Host for Held {}

impl HostSecret for Held {
    fn named(&mut self, name: String) -> wasmtime::Result<Result<Resource<Handle>, Failure>> {
        self.breathe();
        Ok(match self.secrets.get(&name) {
            Some(granted) => Ok(self.table.push(Handle(granted))?),
            None => {
                let add = format!("`secrets: {{{name}: {{env: NAME}}}}`");
                Err(failure(
                    Cause::Denied,
                    format!("the spec grants no secret `{name}`; add {add} to the plugin's grants"),
                ))
            }
        })
    }

    fn length(&mut self, secret: Resource<Handle>, form: Form) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.granted(&secret)?.written(&form).len()).unwrap_or(u32::MAX))
    }

    async fn write(
        &mut self,
        secret: Resource<Handle>,
        to: Resource<Dialled>,
        form: Form,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<(), Failure>> {
        self.breathe();
        let bytes = self.granted(&secret)?.written(&form);
        if matches!(form, Form::Base64(_)) {
            self.masks.add_written(&bytes);
        }
        let dialled = self.table.get_mut(&to)?;
        if let Some(why) = dialled.keeps_out() {
            return Ok(Err(why));
        }
        let written = dialled.write(&bytes, until(timeout_ms)).await;
        self.breathe();
        Ok(match written {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err(failure(Cause::TimedOut, "the peer took only a part of the secret in time".into())),
            Err(failure) => Err(failure),
        })
    }

    fn hmac(&mut self, secret: Resource<Handle>, algorithm: WitHash, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        self.breathe();
        Ok(proofs::hmac(hash(algorithm), self.granted(&secret)?.bytes(), &data))
    }

    async fn scram(
        &mut self,
        secret: Resource<Handle>,
        algorithm: WitHash,
        salt: Vec<u8>,
        iterations: u32,
        auth_message: Vec<u8>,
    ) -> wasmtime::Result<Result<Scram, Failure>> {
        self.breathe();
        let granted = self.granted(&secret)?;
        let Some(rounds) = NonZeroU32::new(iterations).filter(|rounds| ROUNDS.contains(&rounds.get())) else {
            let (least, most) = (ROUNDS.start(), ROUNDS.end());
            let message = format!("the server asks for {iterations} rounds of SCRAM; {least} to {most} are made");
            return Ok(Err(failure(Cause::Invalid, message)));
        };
        let made = move || proofs::scram(hash(algorithm), granted.bytes(), &salt, rounds, &auth_message);
        let made = self.threads.block(made).await;
        self.breathe();
        Ok(match made {
            Ok(proofs::Scram { proof, server_signature }) => Ok(Scram { proof, server_signature }),
            died => {
                // A bug in the host, which ends the call, and the pipeline with it.
                go_on(died);
                Err(failure(Cause::Other, "the proof could not be made".into()))
            }
        })
    }

    fn sign_v4(
        &mut self,
        secret: Resource<Handle>,
        date: String,
        region: String,
        service: String,
        string_to_sign: String,
    ) -> wasmtime::Result<String> {
        self.breathe();
        Ok(proofs::sign_v4(self.granted(&secret)?.bytes(), &date, &region, &service, &string_to_sign))
    }

    fn reveal(&mut self, secret: Resource<Handle>) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        self.breathe();
        let granted = self.granted(&secret)?;
        let denied =
            || failure(Cause::Denied, "the spec does not let the plugin see it; add `reveal: true` to it".into());
        Ok(if granted.reveals { Ok(granted.bytes().to_vec()) } else { Err(denied()) })
    }

    fn drop(&mut self, secret: Resource<Handle>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}
