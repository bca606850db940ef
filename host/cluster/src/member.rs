//! The leader's side of a member's connection: whether it gets in, and until when it is one.

use std::{io, sync::Arc};

use spout_base::clock;
use spout_pipeline::Member;
use tokio::time::interval;

use crate::{
    engine::{Address, Peer, Route},
    link::Link,
    roster::Roster,
    station::Shared,
    words::{Join, Line, Reason, Word},
};

/// Characters of an id, and of labels, at most.
const ID: usize = 64;
const LABELS: usize = 64;
const LABEL: usize = 256;

/// What happens to a connection that wants membership.
pub(crate) async fn attend(link: Link, shared: &Shared) {
    let mut line = Line::new(link, shared.transport.pace);
    match admit(&mut line, shared).await {
        Ok(Ok((roster, peer))) => {
            tracing::info!(fleet = roster.fleet, member = peer.id, "a member joined");
            let end = stay(&mut line, &roster, &peer, shared).await;
            let why = end.unwrap_or_else(|error| error.to_string());
            roster.remove(&peer, &why);
            tracing::info!(fleet = roster.fleet, member = peer.id, "a member is out: {why}");
        }
        Ok(Err((reason, why))) => {
            tracing::warn!("refused a member: {why}");
            if let Err(error) = line.say(&Word::Refused { reason, why }).await {
                tracing::debug!(%error, "it did not hear why");
            }
        }
        Err(error) => tracing::warn!(%error, "refused a connection that wants membership"),
    }
    line.end().await;
}

type Refusal = (Reason, String);

/// Hears who it is, and takes it in if it may be.
async fn admit(line: &mut Line, shared: &Shared) -> io::Result<Result<(Arc<Roster>, Arc<Peer>), Refusal>> {
    let deadline = clock::now() + shared.transport.pace.answer;
    let Word::Join(join) = line.hear(deadline).await? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first word is no join"));
    };
    let taken = take_in(join, shared).await;
    if taken.is_ok() {
        line.say(&Word::Welcome).await?;
    }
    Ok(taken)
}

async fn take_in(join: Join, shared: &Shared) -> Result<(Arc<Roster>, Arc<Peer>), Refusal> {
    if !shared.token.is(join.proof.as_bytes()) {
        return Err((Reason::Token, "it does not know the token".to_owned()));
    }
    if join.version != shared.version {
        return Err((Reason::Version, format!("the fleet has version {}", shared.version)));
    }
    let member = |why: &str| (Reason::Member, why.to_owned());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if join.id.is_empty() || join.id.len() > ID || !join.id.chars().all(plain) {
        return Err(member("its id is not one"));
    }
    let long = |(key, value): (&String, &String)| key.len() > LABEL || value.len() > LABEL;
    if join.labels.len() > LABELS || join.labels.iter().any(long) {
        return Err(member("it has too many labels, or too long ones"));
    }
    let address = Address::parse(&join.address).ok_or_else(|| member("its address is not one"))?;
    if shared.transport.trust.is_none() && !address.is_loopback() {
        return Err(member("without certificates a member has a loopback address"));
    }
    let not_led = || (Reason::NotLed, "it is not led here".to_owned());
    let roster = shared.led(&join.fleet).ok_or_else(not_led)?;
    let route = Route::there(&address, &shared.transport, &shared.token);
    let route = route.map_err(|error| (Reason::Member, error.to_string()))?;
    let peer = Arc::new(Peer::new(join.id.clone(), address.clone(), route));
    // A member that only this way is open to would lose every job that it is part of.
    let reached = peer.probe(&shared.version, shared.transport.pace.answer / 2).await;
    reached.map_err(|why| (Reason::Member, format!("the leader does not reach it at {address}: {why}")))?;
    let member = Member { id: join.id, labels: join.labels, leaves: false };
    roster.add(member, Arc::clone(&peer)).map_err(|why| (Reason::Member, why))?;
    Ok((roster, peer))
}

/// Until it is out; says why.
async fn stay(line: &mut Line, roster: &Roster, peer: &Arc<Peer>, shared: &Shared) -> io::Result<String> {
    let pace = shared.transport.pace;
    let mut beat = interval(pace.beat);
    let mut silent = clock::now() + pace.member;
    let mut idle = None;
    loop {
        tokio::select! {
            biased;
            () = peer.gone.cancelled() => {
                line.say(&Word::Refused { reason: Reason::Member, why: peer.why().to_owned() }).await?;
                return Ok(peer.why().to_owned());
            }
            () = roster.over.cancelled() => {
                line.say(&Word::Released).await?;
                return Ok("the fleet is led no longer".to_owned());
            }
            word = line.hear(silent) => {
                silent = clock::now() + pace.member;
                match word? {
                    Word::Beat => {}
                    Word::Leaving => {
                        roster.leaves(peer);
                        idle.get_or_insert(0);
                    }
                    word => return Ok(format!("it said {word:?}, which no member does")),
                }
            }
            _ = beat.tick() => {
                line.say(&Word::Beat).await?;
                // A job that was planned before it said so may still come: two beats without one.
                if let Some(beats) = &mut idle {
                    *beats = if peer.is_busy() { 0 } else { *beats + 1 };
                    if *beats > 2 {
                        line.say(&Word::Released).await?;
                        return Ok("it left".to_owned());
                    }
                }
            }
        }
    }
}
