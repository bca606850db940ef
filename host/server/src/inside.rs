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
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Access, Beside, Board, Limits, Scope, Service, Tokens, listen};

/// Programs have few connections; what they put may be large.
const LIMITS: Limits =
    Limits { crowd: Crowd { most: 256, per_address: None }, head: Duration::from_secs(60), max_body: 1 << 40 };

/// An API that opens when the first program needs it, and closes when this is dropped.
pub struct Inside {
    store: Store,
    tokens: Arc<Tokens>,
    url: OnceCell<String>,
    stop: CancellationToken,
    _closes: DropGuard,
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
        let (tokens, url, closes) = (Arc::new(Tokens::in_memory()), OnceCell::new(), stop.clone().drop_guard());
        Self { store: store.clone(), tokens, url, stop, _closes: closes }
    }

    async fn open(&self) -> io::Result<String> {
        let listening = listen("127.0.0.1:0", None, true, LIMITS).await.map_err(io::Error::other)?;
        let url = format!("http://{}", listening.address);
        // Its tokens are for files: nothing is allowed to the specs, and no plugin is found.
        let plugins = Plugins::open(Path::new("/dev/null"), None).map_err(io::Error::other)?;
        let (board, shelf) = (Arc::new(Board::new(&self.store, Statuses::default())), PluginShelf::new(&self.store));
        let committer = Committer::default();
        let (allowed, base) = (Vec::new(), PathBuf::from("/"));
        let beside = Beside { board, shelf, plugins, committer, ran: None, allowed, base };
        let tokens = Some(Arc::clone(&self.tokens));
        tokio::spawn(listening.serve(Service::new(self.store.clone(), tokens, beside, &LIMITS, self.stop.clone())));
        Ok(url)
    }
}

#[async_trait]
impl StoreAccess for Inside {
    async fn grant(&self, repo: &str) -> io::Result<Pass> {
        let url = self.url.get_or_try_init(|| self.open()).await?;
        let scope = Scope { access: Access::Write, repos: repo.to_owned() };
        let made = self.tokens.create(repo, vec![scope], None).map_err(io::Error::other)?;
        let (token, text) = made;
        let valid = Valid { tokens: Arc::clone(&self.tokens), id: token.id };
        Ok(Pass::new(url.clone(), text.into(), Box::new(valid)))
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("url", &self.url.get()).finish_non_exhaustive()
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
}
