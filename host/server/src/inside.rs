//! The API for programs that pipelines of this process run: on loopback, for tokens that are in memory only.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use spout_keeper::{Committer, PluginShelf, Statuses};
use spout_pipeline::{Pass, StoreAccess};
use spout_plugin::Plugins;
use spout_repo::Store;
use spout_wire::Crowd;
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Access, Beside, Board, Limits, Scope, Service, Tokens, listen};

/// Programs have few connections; what they put may be large.
const LIMITS: Limits =
    Limits { crowd: Crowd { most: 256, per_address: None }, head: Duration::from_secs(60), max_body: 1 << 40 };

/// An API that opens when the first program needs it, and closes when this is dropped.
pub struct Inside {
    store: Store,
    tokens: Arc<Tokens>,
    open: Mutex<Option<Open>>,
    stop: CancellationToken,
    _closes: DropGuard,
}

/// One that answers requests.
struct Open {
    url: String,
    answering: JoinHandle<()>,
}

/// A token that is revoked when this is dropped.
struct Valid {
    tokens: Arc<Tokens>,
    id: String,
}

impl Drop for Valid {
    fn drop(&mut self) {
        // It is there until then, and memory cannot fail.
        drop(self.tokens.revoke(&self.id));
    }
}

impl Inside {
    /// An API of `store`, not open yet.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let stop = CancellationToken::new();
        let (tokens, closes) = (Arc::new(Tokens::in_memory()), stop.clone().drop_guard());
        Self { store: store.clone(), tokens, open: Mutex::default(), stop, _closes: closes }
    }

    async fn open(&self) -> io::Result<Open> {
        let listening = listen("127.0.0.1:0", None, true, LIMITS).await.map_err(io::Error::other)?;
        let url = format!("http://{}", listening.address);
        // Its tokens are for files: nothing is allowed to the specs, and no plugin is found.
        let plugins = Plugins::open(Path::new("/dev/null"), None).map_err(io::Error::other)?;
        let (board, shelf) = (Arc::new(Board::new(&self.store, Statuses::default())), PluginShelf::new(&self.store));
        let committer = Committer::default();
        let (allowed, base) = (Vec::new(), PathBuf::from("/"));
        let beside = Beside { board, shelf, plugins, committer, ran: None, allowed, base };
        let tokens = Some(Arc::clone(&self.tokens));
        let service = Service::new(self.store.clone(), tokens, beside, &LIMITS, self.stop.clone());
        Ok(Open { url, answering: tokio::spawn(listening.serve(service)) })
    }
}

#[async_trait]
impl StoreAccess for Inside {
    async fn grant(&self, repo: &str) -> io::Result<Pass> {
        let mut open = self.open.lock().await;
        let open = match &mut *open {
            // Where its task panicked, it is opened anew: the program that had it has failed.
            Some(open) if !open.answering.is_finished() => open,
            open => open.insert(self.open().await?),
        };
        let scope = Scope { access: Access::Write, repos: repo.to_owned() };
        let made = self.tokens.create(repo, vec![scope], None).map_err(io::Error::other)?;
        let (token, text) = made;
        let valid = Valid { tokens: Arc::clone(&self.tokens), id: token.id };
        Ok(Pass::new(open.url.clone(), text.into(), Box::new(valid)))
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pass_is_good_for_one_repo_until_it_is_dropped() {
        let inside = Inside::new(&Store::open("memory://").await.unwrap());
        let (one, two) = (inside.grant("one").await.unwrap(), inside.grant("two").await.unwrap());
        assert_eq!(one.server, two.server);
        assert!(one.server.starts_with("http://127.0.0.1:"), "{}", one.server);
        let allows = |pass: &Pass, repo| {
            inside.tokens.find(pass.token.reveal()).map(|token| token.allows(Access::Write, Some(repo)))
        };
        assert_eq!((allows(&one, "one").unwrap(), allows(&one, "two").unwrap()), (true, false));
        let text = one.token.reveal().to_owned();
        drop(one);
        assert!(inside.tokens.find(&text).is_err());
        assert!(allows(&two, "two").unwrap(), "others stay");
    }

    #[tokio::test]
    async fn an_api_whose_task_is_gone_is_opened_anew_for_the_next_program() {
        let inside = Inside::new(&Store::open("memory://").await.unwrap());
        let one = inside.grant("one").await.unwrap();
        let gone = tokio::spawn(async { panic!("a bug") });
        while !gone.is_finished() {
            tokio::task::yield_now().await;
        }
        inside.open.lock().await.as_mut().unwrap().answering = gone;
        let again = inside.grant("one").await.unwrap();
        assert_ne!(one.server, again.server);
        let answered = inside.open.lock().await.as_ref().is_some_and(|open| !open.answering.is_finished());
        assert!(answered);
    }
}
