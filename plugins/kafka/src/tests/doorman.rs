//! The part of a broker that asks who is there.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, BufMut as _};
use spout_guest::{
    secret::{Hash, Secret},
    testing::set_secret,
};

const SALT: &[u8] = b"a salt of a broker";

/// One connection's state.
pub(crate) struct Doorman {
    door: Option<(&'static str, &'static str, &'static str)>,
    first: Option<String>,
    inside: bool,
}

impl Doorman {
    pub(crate) fn new(door: Option<(&'static str, &'static str, &'static str)>) -> Self {
        if let Some((.., password)) = door {
            set_secret("password", password);
        }
        Self { door, first: None, inside: door.is_none() }
    }

    pub(crate) fn lets_in(&self, api: i16) -> bool {
        self.inside || [17, 36].contains(&api)
    }

    pub(crate) fn handshake(&self, input: &[u8], out: &mut Vec<u8>) {
        let (mechanism, ..) = self.door.unwrap();
        out.put_i16(if &input[2..] == mechanism.as_bytes() { 0 } else { 33 });
        out.put_i32(1);
        out.put_i16(mechanism.len() as i16);
        out.put_slice(mechanism.as_bytes());
    }

    pub(crate) fn authenticate(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        let length = usize::try_from(input.get_i32()).unwrap();
        assert_eq!(length, input.len(), "the length counts the secret");
        let message = std::str::from_utf8(input).unwrap();
        let (mechanism, user, password) = self.door.unwrap();
        let answer = match mechanism {
            "PLAIN" => (message == format!("\0{user}\0{password}")).then(String::new),
            "SCRAM-SHA-256" => self.scram(Hash::Sha256, user, message),
            _ => self.scram(Hash::Sha512, user, message),
        };
        let text = |text: &str, out: &mut Vec<u8>| {
            out.put_i16(text.len() as i16);
            out.put_slice(text.as_bytes());
        };
        match answer {
            Some(answer) => {
                self.inside = mechanism == "PLAIN" || answer.starts_with("v=");
                out.put_i16(0);
                out.put_i16(-1);
                out.put_i32(answer.len() as i32);
                out.put_slice(answer.as_bytes());
            }
            None => {
                out.put_i16(58);
                text("who are you?", out);
                out.put_i32(0);
            }
        }
    }

    fn scram(&mut self, hash: Hash, user: &str, message: &str) -> Option<String> {
        let Some(before) = self.first.take() else {
            let bare = message.strip_prefix("n,,")?;
            let nonce = bare.strip_prefix(&format!("n={user},r="))?;
            let answer = format!("r={nonce}more,s={},i=4096", STANDARD.encode(SALT));
            self.first = Some(format!("{bare},{answer}"));
            return Some(answer);
        };
        let (open, proof) = message.split_once(",p=")?;
        let all = format!("{before},{open}");
        let made = Secret::named("password").unwrap().scram(hash, SALT, 4096, all.as_bytes()).unwrap();
        (STANDARD.encode(made.proof) == proof).then(|| format!("v={}", STANDARD.encode(made.server_signature)))
    }
}
