//! What others ask of a process that leads.

use async_trait::async_trait;

use super::*;
use crate::Answers;

/// Answers for one fleet, with more than a word may have otherwise.
struct Says;

#[async_trait]
impl Answers for Says {
    async fn answer(&self, fleet: &str, asked: &str) -> Option<String> {
        (fleet == FLEET).then(|| format!("{asked}: {}", "x".repeat(1 << 20)))
    }
}

#[tokio::test]
async fn whoever_knows_the_token_is_answered_by_the_one_that_leads() {
    let (leader, other) = (Site::open(settings()).await.unwrap(), Site::open(settings()).await.unwrap());
    let address = leader.station.address();
    let asked = || other.station.ask(&address, FLEET, "how");
    assert_eq!(soon(asked()).await.unwrap(), None, "nobody answers there yet");
    leader.station.answers(Arc::new(Says));
    let answer = soon(asked()).await.unwrap().unwrap();
    assert!(answer.starts_with("how: xxx") && answer.len() > 1 << 20, "{} bytes", answer.len());
    assert_eq!(soon(other.station.ask(&address, "another", "how")).await.unwrap(), None);
    let stranger = Settings { token: Token::new("another secret of sixteen").unwrap(), ..settings() };
    let stranger = Site::open(stranger).await.unwrap();
    let refused = soon(stranger.station.ask(&address, FLEET, "how")).await;
    assert!(matches!(refused, Err(Error::Stranger { .. })), "{refused:?}");
    drop(leader);
    assert!(matches!(soon(asked()).await, Err(Error::Unreachable { .. })));
}
