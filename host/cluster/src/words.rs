//! What leader and member say to each other besides tasks: short words, each with its length before it.

use std::{collections::BTreeMap, io, time::Duration};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{link::Link, settings::Pace};

/// How such a connection begins.
pub(crate) const MAGIC: &[u8; 8] = b"SPOUTFL1";
/// Bytes of a word at most; a join has the labels.
const LONGEST: usize = 64 << 10;
/// Bytes of an answer at most: how thousands of partitions stand.
const WIDEST: usize = 16 << 20;

/// A connection that is over stays for so long at most, for its last word to be heard.
const LINGERS: Duration = Duration::from_secs(1);

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Word {
    /// A process wants to be a member.
    Join(Join),
    /// It is one.
    Welcome,
    /// It is not.
    Refused { reason: Reason, why: String },
    /// Who says so is there.
    Beat,
    /// A member takes no new partitions.
    Leaving,
    /// It has nothing left and may go; or the leader leads no longer.
    Released,
    /// A process asks something of a leader.
    Ask(Ask),
    /// What that answers.
    Answer { what: String },
}

/// What is asked about what is led.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) fleet: String,
    pub(crate) proof: String,
    pub(crate) what: String,
}

/// Who wants to be a member of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Join {
    pub(crate) fleet: String,
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) version: String,
    pub(crate) proof: String,
}

/// Why a process is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reason {
    /// It does not know the token.
    Token,
    /// It is another version.
    Version,
    /// The fleet is not led here.
    NotLed,
    /// Something about it, or there are enough.
    Member,
}

/// A connection on which words are said.
#[derive(Debug)]
pub(crate) struct Line {
    frames: Framed<Link, LengthDelimitedCodec>,
    pace: Pace,
}

impl Line {
    pub(crate) fn new(link: Link, pace: Pace) -> Self {
        let codec = LengthDelimitedCodec::builder().max_frame_length(LONGEST).new_codec();
        Self { frames: Framed::new(link, codec), pace }
    }

    /// An answer may come, or go.
    pub(crate) fn widen(&mut self) {
        self.frames.codec_mut().set_max_frame_length(WIDEST);
    }

    /// Says `word`. Who does not take it in time is gone.
    pub(crate) async fn say(&mut self, word: &Word) -> io::Result<()> {
        let bytes = Bytes::from(serde_json::to_vec(word).map_err(io::Error::other)?);
        match timeout(self.pace.answer, self.frames.send(bytes)).await {
            Ok(said) => said,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes no words")),
        }
    }

    /// The next word, which has to come until `deadline`. May be given up and asked again.
    pub(crate) async fn hear(&mut self, deadline: Instant) -> io::Result<Word> {
        match timeout_at(deadline, self.frames.next()).await {
            Ok(Some(Ok(frame))) => serde_json::from_slice(&frame).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("it said something else than a word: {error}"))
            }),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it is silent")),
        }
    }
    /// Ends it so that the other side hears what was said last: bytes that nobody reads would tear the connection down before that.
    pub(crate) async fn end(mut self) {
        let rest = async {
            if self.frames.get_mut().shutdown().await.is_ok() {
                while let Some(Ok(_)) = self.frames.next().await {}
            }
        };
        if timeout(LINGERS, rest).await.is_err() {
            tracing::debug!("the other side of a connection does not end it");
        }
    }
}
