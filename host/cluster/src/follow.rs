//! The member's side of its connection with a leader.

use std::io;

use spout_base::clock;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Address,
    error::Error,
    link::Link,
    station::Shared,
    words::{Join, Line, MAGIC, Reason, Word},
};

/// Why a process follows a leader no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It left, and has nothing any more.
    Left,
    /// The leader leads no longer, and said so.
    Dismissed,
    /// The leader has given this process up, and says why. It may join again.
    Expelled {
        /// Why.
        why: String,
    },
    /// Nothing was heard of the leader in time, or the connection broke.
    Silent {
        /// How that was noticed.
        why: String,
    },
}

/// Joins the fleet, and is a member until that ends.
pub(crate) async fn follow(
    shared: &Shared,
    leader: &str,
    fleet: &str,
    leave: &CancellationToken,
) -> Result<Followed, Error> {
    let pace = shared.transport.pace;
    let unreachable = |why: &dyn std::fmt::Display| Error::Unreachable { leader: leader.into(), why: why.to_string() };
    let address = Address::parse(leader).ok_or_else(|| unreachable(&"that is no address"))?;
    // Whoever claims to be the leader gets the token's proof: it has to be who its certificate says, or on this machine.
    if shared.transport.trust.is_none() && !address.is_loopback() {
        return Err(Error::Open { address: leader.to_owned() });
    }
    let joined = timeout(pace.answer, join(shared, &address, fleet)).await;
    let (mut line, answer) = match joined {
        Ok(Ok(joined)) => joined,
        Ok(Err(error)) => return Err(unreachable(&error)),
        Err(_) => return Err(unreachable(&"it does not answer")),
    };
    let leader = leader.to_owned();
    match answer {
        Word::Welcome => {}
        Word::Refused { reason: Reason::Token, .. } => return Err(Error::Stranger { leader }),
        Word::Refused { reason: Reason::Version, why } => {
            return Err(Error::Version { leader, version: shared.version.clone(), why });
        }
        Word::Refused { reason, why } => {
            let leads = reason != Reason::NotLed;
            return Err(Error::Refused { leader, fleet: fleet.to_owned(), why, leads });
        }
        word => return Err(unreachable(&format!("it said {word:?} to a join"))),
    }
    tracing::info!(fleet, leader, "joined a fleet");
    let followed = stay(&mut line, shared, leave).await;
    let followed = followed.unwrap_or_else(|error| Followed::Silent { why: error.to_string() });
    tracing::info!(fleet, leader, "no longer in a fleet: {followed:?}");
    Ok(followed)
}

async fn join(shared: &Shared, leader: &Address, fleet: &str) -> io::Result<(Line, Word)> {
    use tokio::io::AsyncWriteExt as _;
    let mut link = Link::dial(leader, &shared.transport).await?;
    link.write_all(MAGIC).await?;
    let mut line = Line::new(link, shared.transport.pace);
    let join = Join {
        fleet: fleet.to_owned(),
        id: shared.own.id.clone(),
        address: shared.address.to_string(),
        labels: shared.own.labels.clone(),
        version: shared.version.clone(),
        proof: shared.token.proof().to_owned(),
    };
    line.say(&Word::Join(join)).await?;
    let answer = line.hear(clock::now() + shared.transport.pace.answer).await?;
    Ok((line, answer))
}

async fn stay(line: &mut Line, shared: &Shared, leave: &CancellationToken) -> io::Result<Followed> {
    let pace = shared.transport.pace;
    let mut beat = interval(pace.beat);
    let mut silent = clock::now() + pace.patience();
    let mut leaving = false;
    loop {
        let said = tokio::select! {
            biased;
            word = line.hear(silent) => {
                silent = clock::now() + pace.patience();
                match followed(word?, leaving) {
                    Some(followed) => return Ok(followed),
                    None => continue,
                }
            }
            () = leave.cancelled(), if !leaving => {
                leaving = true;
                line.say(&Word::Leaving).await
            }
            _ = beat.tick() => line.say(&Word::Beat).await,
        };
        if let Err(error) = said {
            // A leader that is through with this process closes the connection, and says why before that.
            while let Ok(word) = line.hear(clock::now() + pace.beat).await {
                if let Some(followed) = followed(word, leaving) {
                    return Ok(followed);
                }
            }
            return Err(error);
        }
    }
}

/// How following ends with `word`, if it does.
fn followed(word: Word, leaving: bool) -> Option<Followed> {
    match word {
        Word::Beat => None,
        Word::Released if leaving => Some(Followed::Left),
        Word::Released => Some(Followed::Dismissed),
        Word::Refused { why, .. } => Some(Followed::Expelled { why }),
        word => Some(Followed::Silent { why: format!("it said {word:?}, which no leader does") }),
    }
}
