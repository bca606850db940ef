//! What an operator says of a process: where it is, what it shows, and what only the fleet knows.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// Bytes of a token at least and at most.
pub(crate) const SHORTEST: usize = 16;
pub(crate) const LONGEST: usize = 4096;

/// What a process is in its fleets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; with port 0 at one that is free.
    pub listen: SocketAddr,
    /// Where others reach it, as `host:port`, if that is elsewhere.
    pub advertise: Option<String>,
    /// What its operator says of it.
    pub labels: BTreeMap<String, String>,
    /// What all processes of the fleet know.
    pub token: Token,
    /// Certificates; without them it can only be reached from this machine.
    pub certificates: Option<Certificates>,
    /// All members of a fleet have the same.
    pub version: String,
    /// How long silence may last.
    pub pace: Pace,
}

impl Settings {
    /// Those of a process that listens at `listen` and knows `token`, for everything else the usual.
    #[must_use]
    pub fn new(listen: SocketAddr, token: Token) -> Self {
        Self {
            listen,
            advertise: None,
            labels: BTreeMap::new(),
            token,
            certificates: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pace: Pace::default(),
        }
    }
}

/// PEM files: who this process is, and who vouches for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// Its chain of certificates, for the host that it advertises, usable by servers and clients.
    pub chain: PathBuf,
    /// The key of the first of them.
    pub key: PathBuf,
    /// The authority that vouches for all processes of the fleet.
    pub ca: PathBuf,
}

/// What all processes of a fleet know. It does not show itself, nor does it travel: a hash of it does.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token `secret`.
    ///
    /// # Errors
    /// If it is too short or too long.
    pub fn new(secret: &str) -> Result<Self, Error> {
        if !(SHORTEST..=LONGEST).contains(&secret.len()) {
            return Err(Error::Token { length: secret.len() });
        }
        let hash = Sha256::new().chain_update("spout fleet\n").chain_update(secret).finalize();
        Ok(Self(format!("{hash:x}")))
    }

    /// What shows that it is known.
    pub(crate) fn proof(&self) -> &str {
        &self.0
    }

    /// Whether `proof` shows that it is known. How long that takes says nothing of where the two differ.
    pub(crate) fn is(&self, proof: &[u8]) -> bool {
        Sha256::digest(proof) == Sha256::digest(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How often processes say that they are there, and how long silence may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one beat to the next.
    pub beat: Duration,
    /// A member that is silent for so long is out.
    pub member: Duration,
    /// A leader that is silent for so long is replaced,
    pub leader: Duration,
    /// after up to so much more, so that not all claim at once.
    pub jitter: Duration,
    /// A handshake, and an answer to a join, may take so long.
    pub answer: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(1),
            member: Duration::from_secs(5),
            leader: Duration::from_secs(3),
            jitter: Duration::from_secs(2),
            answer: Duration::from_secs(3),
        }
    }
}

impl Pace {
    /// How long the engine waits for an answer to a ping, one of which goes with each beat.
    pub(crate) fn pong(&self) -> Duration {
        self.member.saturating_sub(self.beat)
    }

    /// How long this process waits for a silent leader now.
    pub(crate) fn patience(&self) -> Duration {
        self.leader + self.jitter.mul_f64(rand::random::<f64>())
    }
}
