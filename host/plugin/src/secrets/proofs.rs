//! What can be made of a secret without showing it.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{hmac, pbkdf2};
use sha2::{Digest as _, Sha256, Sha512};

/// The functions that proofs are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// Rounds that a server may ask for: fewer make the secret easy to guess for who plays the server, more keep the host busy.
pub(super) const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// The two ends of an exchange after RFC 5802.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scram {
    pub(super) proof: Vec<u8>,
    pub(super) server_signature: Vec<u8>,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The HMAC of `data`.
pub(super) fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash.hmac(), key), data).as_ref().to_vec()
}

/// The proof of a client and the signature of its server. `rounds` is one of [`ROUNDS`].
pub(super) fn scram(hash: Hash, secret: &[u8], salt: &[u8], rounds: NonZeroU32, message: &[u8]) -> Scram {
    let mut salted = vec![0; hash.hmac().digest_algorithm().output_len()];
    pbkdf2::derive(hash.pbkdf2(), rounds, salt, secret, &mut salted);
    let client = hmac(hash, &salted, b"Client Key");
    let signature = hmac(hash, &hash.digest(&client), message);
    let proof = client.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
    Scram { proof, server_signature: hmac(hash, &hmac(hash, &salted, b"Server Key"), message) }
}

/// The signature of `text` after AWS's version 4.
pub(super) fn sign_v4(secret: &[u8], date: &str, region: &str, service: &str, text: &str) -> String {
    let first = [b"AWS4", secret].concat();
    let key = [date, region, service, "aws4_request"]
        .iter()
        .fold(first, |key, part| hmac(Hash::Sha256, &key, part.as_bytes()));
    hmac(Hash::Sha256, &key, text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The base64 of `before` and the secret.
pub(super) fn base64(before: &[u8], secret: &[u8]) -> Vec<u8> {
    STANDARD.encode([before, secret].concat()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[test]
    fn scram_is_that_of_the_rfc() {
        // RFC 7677, section 3.
        let check = |hash, first: &str, server: &str, last: &str, salt: &str, proof: &str, signature: &str| {
            let message = format!("{first},{server},{last}");
            let salt = STANDARD.decode(salt).unwrap();
            let made = scram(hash, b"pencil", &salt, rounds(4096), message.as_bytes());
            assert_eq!(STANDARD.encode(made.proof), proof);
            assert_eq!(STANDARD.encode(made.server_signature), signature);
        };
        check(
            Hash::Sha256,
            "n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    #[test]
    fn signatures_are_those_of_the_references() {
        // RFC 4231, test case 2.
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let made = hex(hmac(Hash::Sha256, b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(made, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        // The example `GET Object` of Amazon's documentation of S3.
        let text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                    7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        let made = sign_v4(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3", text);
        assert_eq!(made, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
        assert_eq!(base64(b"Aladdin:", b"open sesame"), b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
