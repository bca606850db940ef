//! What other processes of the cluster ask of one that leads: how that stands, or to do something about it.

use std::io;

use async_trait::async_trait;
use spout_base::clock;
use tokio::time::timeout;

use crate::{
    engine::Address,
    error::Error,
    link::Link,
    station::Shared,
    words::{Ask, Line, MAGIC, Reason, Word},
};

/// Answers for what a process leads.
#[async_trait]
pub trait Answers: Send + Sync {
    /// The answer to `asked` about `fleet`; none where this process does not lead it.
    async fn answer(&self, fleet: &str, asked: &str) -> Option<String>;
}

/// Answers one who has just said `ask`.
pub(crate) async fn answer(line: &mut Line, ask: Ask, shared: &Shared) -> io::Result<()> {
    let Ask { fleet, proof, what } = ask;
    if !shared.token.is(proof.as_bytes()) {
        let why = "it does not know the token".to_owned();
        return line.say(&Word::Refused { reason: Reason::Token, why }).await;
    }
    let answered = match shared.answers.get() {
        Some(answers) => answers.answer(&fleet, &what).await,
        None => None,
    };
    line.widen();
    line.say(&match answered {
        Some(what) => Word::Answer { what },
        None => Word::Refused { reason: Reason::NotLed, why: "it is not led here".to_owned() },
    })
    .await
}

/// Asks the process at `leader` about `fleet`; none where it does not lead it.
pub(crate) async fn ask(shared: &Shared, leader: &str, fleet: &str, what: &str) -> Result<Option<String>, Error> {
    let unreachable = |why: &dyn std::fmt::Display| Error::Unreachable { leader: leader.into(), why: why.to_string() };
    let address = Address::parse(leader).ok_or_else(|| unreachable(&"that is no address"))?;
    // It gets the token's proof, as a leader that is followed does.
    if shared.transport.trust.is_none() && !address.is_loopback() {
        return Err(Error::Open { address: leader.to_owned() });
    }
    let asked = Ask { fleet: fleet.to_owned(), proof: shared.token.proof().to_owned(), what: what.to_owned() };
    match timeout(shared.transport.pace.answer, said(shared, &address, asked)).await {
        Ok(Ok(Word::Answer { what })) => Ok(Some(what)),
        Ok(Ok(Word::Refused { reason: Reason::Token, .. })) => Err(Error::Stranger { leader: leader.to_owned() }),
        Ok(Ok(Word::Refused { .. })) => Ok(None),
        Ok(Ok(word)) => Err(unreachable(&format!("it said {word:?} to a question"))),
        Ok(Err(error)) => Err(unreachable(&error)),
        Err(_) => Err(unreachable(&"it does not answer")),
    }
}

async fn said(shared: &Shared, leader: &Address, asked: Ask) -> io::Result<Word> {
    use tokio::io::AsyncWriteExt as _;
    let mut link = Link::dial(leader, &shared.transport).await?;
    link.write_all(MAGIC).await?;
    let mut line = Line::new(link, shared.transport.pace);
    line.widen();
    line.say(&Word::Ask(asked)).await?;
    line.hear(clock::now() + shared.transport.pace.answer).await
}
