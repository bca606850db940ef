//! The client's side of SCRAM, after RFC 5802: the messages that Kafka, PostgreSQL and others carry in frames of their own.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Hash, Secret};
use crate::{Error, Result};

/// What begins a client's first message without channel binding, and its base64.
const NO_BINDING: &str = "n,,";
const BINDING: &str = "biws";

/// Bytes of a salt.
const SALT: usize = 1024;

/// One exchange: [`ScramClient::first`] is sent, the server's answer goes through [`ScramClient::last`], and what it says then through
/// [`ScramClient::verify`].
#[derive(Debug)]
pub struct ScramClient {
    hash: Hash,
    bare: String,
    nonce: String,
    server_signature: Vec<u8>,
}

impl ScramClient {
    /// Begins an exchange for `user`. PostgreSQL knows the user already: there it is empty.
    #[must_use]
    pub fn new(hash: Hash, user: &str) -> Self {
        Self::with_nonce(hash, user, STANDARD.encode(random()))
    }

    fn with_nonce(hash: Hash, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash, bare: format!("n={user},r={nonce}"), nonce, server_signature: Vec::new() }
    }

    /// The client's first message.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{NO_BINDING}{}", self.bare)
    }

    /// The client's last message, in answer to the server's first.
    ///
    /// # Errors
    /// If the server's message is none, is not for this exchange, or refuses.
    pub fn last(&mut self, server_first: &str, secret: &Secret) -> Result<String> {
        let nonce = attribute(server_first, 'r')?;
        if !(nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len()) {
            return Err(wrong("its answer is for another exchange"));
        }
        let salt = STANDARD.decode(attribute(server_first, 's')?).map_err(|_| wrong("its salt is not base64"))?;
        let rounds = attribute(server_first, 'i')?.parse().map_err(|_| wrong("its number of rounds is none"))?;
        if salt.len() > SALT {
            return Err(wrong("its salt is too long"));
        }
        let open = format!("c={BINDING},r={nonce}");
        let message = format!("{},{server_first},{open}", self.bare);
        let made = secret.scram(self.hash, &salt, rounds, message.as_bytes())?;
        self.server_signature = made.server_signature;
        Ok(format!("{open},p={}", STANDARD.encode(made.proof)))
    }

    /// Checks that the server knows the secret, by its last message.
    ///
    /// # Errors
    /// If it refuses, or does not know it.
    pub fn verify(&self, server_last: &str) -> Result<()> {
        let signature =
            STANDARD.decode(attribute(server_last, 'v')?).map_err(|_| wrong("its signature is not base64"))?;
        if self.server_signature.is_empty() || signature != self.server_signature {
            return Err(Error::fatal(
                "scram.server",
                "the server does not know the secret; is it the one that is meant?",
            ));
        }
        Ok(())
    }
}

/// The value of an attribute; a server that refuses says `e=` and why.
fn attribute(message: &str, name: char) -> Result<&str> {
    let find = |name: char| {
        message.split(',').find_map(|part| part.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
    };
    if let Some(why) = find('e') {
        return Err(Error::fatal("scram.refused", format!("the server refuses: {why}")));
    }
    find(name).ok_or_else(|| wrong(&format!("its message has no `{name}`")))
}

fn wrong(what: &str) -> Error {
    Error::fatal("scram.protocol", format!("the server does not speak SCRAM as it should: {what}"))
}

#[cfg(target_arch = "wasm32")]
fn random() -> Vec<u8> {
    wasip2::random::random::get_random_bytes(18)
}

#[cfg(not(target_arch = "wasm32"))]
fn random() -> Vec<u8> {
    use std::hash::{BuildHasher as _, RandomState};
    (0..3).flat_map(|n: u8| RandomState::new().hash_one(n).to_le_bytes()).take(18).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_that_of_the_rfc() {
        crate::testing::set_secret("pencil", "pencil");
        let secret = Secret::named("pencil").unwrap();
        let mut client = ScramClient::with_nonce(Hash::Sha256, "user", "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = client.last(server, &secret).unwrap();
        let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(last, format!("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,{proof}"));
        client.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        let check = |server: &str, part: &str| {
            let mut client = ScramClient::with_nonce(Hash::Sha256, "a=b,c", "abc".into());
            assert_eq!(client.first(), "n,,n=a=3Db=2Cc,r=abc");
            let error = client.last(server, &secret).unwrap_err().to_string();
            assert!(error.contains(part), "{server}: {error}");
        };
        check("r=abc,s=YQ==,i=4096", "another exchange");
        check("r=xyz,s=YQ==,i=4096", "another exchange");
        check("r=abcd,s=!,i=4096", "not base64");
        check("r=abcd,s=YQ==,i=x", "rounds");
        check("r=abcd,s=YQ==,i=1", "1 rounds");
        check("r=abcd,s=YQ==,i=4000000000", "4000000000 rounds");
        check("r=abcd", "no `s`");
        check("e=unknown-user", "unknown-user");
        for wrong in ["v=", "v=YQ==", "e=invalid-proof", ""] {
            client.verify(wrong).unwrap_err();
        }
        assert!(ScramClient::new(Hash::Sha512, "").first() != ScramClient::new(Hash::Sha512, "").first());
    }
}
