//! `spout run --ui`: the console and the API beside pipelines that this process runs by itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use spout_base::panicked::caught;
use spout_repo::Store;
use spout_server::{Beside, Crowd, Error as ServerError, Identity, Limits, Listening, Service, Tokens, listen};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{certificate::Certificate, error::Error, harden, print::Printer};

/// Whoever looks at pipelines, with a browser or without.
const LIMITS: Limits =
    Limits { crowd: Crowd { most: 256, per_address: None }, head: Duration::from_secs(60), max_body: 64 << 30 };

/// Where the console is served.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Ui {
    /// Serve the console and the API of the store beside the pipelines, at this host and port: a free port of this machine unless
    /// another is said. The address is printed.
    #[arg(long = "ui", value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0")]
    address: Option<String>,
    /// File of the tokens that let callers of --ui in, as `spout token create` makes it. A change counts at once.
    #[arg(long, value_name = "FILE", requires = "address")]
    tokens: Option<PathBuf>,
}

/// An open port, and who may come in.
#[derive(Debug)]
pub(super) struct Opened {
    listening: Listening,
    tokens: Option<Arc<Tokens>>,
}

/// A console that is served.
#[derive(Debug)]
pub(super) struct Shown {
    answering: JoinHandle<()>,
    stop: CancellationToken,
}

impl Ui {
    /// What it takes of this machine, if it is wanted.
    pub(super) fn needs<'a>(&'a self, certificate: &'a Certificate) -> Option<harden::Door<'a>> {
        let reads = certificate.files().map(<[&Path; 2]>::from).into_iter().flatten().collect();
        self.address.as_deref().map(|listen| harden::Door { reads, tokens: self.tokens.as_deref(), listen })
    }

    /// Whether it is wanted.
    pub(super) fn is_wanted(&self) -> bool {
        self.address.is_some()
    }

    /// Opens its port, if it is wanted: what is wrong with that is said before a pipeline starts.
    pub(super) async fn open(&self, certificate: &Certificate) -> Result<Option<Opened>> {
        let Some(address) = &self.address else { return Ok(None) };
        let tokens = self.tokens.as_deref().map(|file| Arc::new(Tokens::at(file)));
        tokens.as_ref().map(|tokens| tokens.list()).transpose()?;
        let identity = certificate.files();
        let identity =
            identity.map(|(chain, key)| Identity::read(chain, key)).transpose().map_err(ServerError::from)?;
        let listening = listen(address, identity, tokens.is_some(), LIMITS).await?;
        Ok(Some(Opened { listening, tokens }))
    }
}

impl Opened {
    /// Says where it is, and answers about `beside`.
    pub(super) fn serve(self, store: &Store, beside: Beside, printer: &mut Printer) -> Result<Shown> {
        let Self { listening, tokens } = self;
        let url = format!("{}://{}", if listening.is_secure() { "https" } else { "http" }, listening.address);
        if tokens.is_none() {
            tracing::warn!("everyone on this machine may do everything at {url}; --tokens FILE asks for tokens");
        }
        let address = listening.address;
        let stop = CancellationToken::new();
        // What is sent there reaches nothing of this machine.
        let beside = Beside { allowed: Vec::new(), ..beside };
        let service = Service::new(store.clone(), tokens, beside, &LIMITS, stop.clone());
        let answering = tokio::spawn(async move {
            if let Err(panic) = caught(listening.serve(service)).await {
                tracing::error!(%panic, "a bug: the console is not served any more; the pipelines run on; please report it");
            }
        });
        let said = if printer.json() {
            printer.value(&json!({"event": "console", "url": url, "address": address}))
        } else {
            printer.line(format!("console {url}"))
        };
        said.map(|()| Shown { answering, stop })
    }
}

impl Shown {
    /// Ends it, once requests that were begun are answered, or `hurry` is over.
    pub(super) async fn close(self, hurry: impl Future<Output = ()>) -> Result<(), Error> {
        self.stop.cancel();
        tokio::select! {
            // It has said of a panic.
            _ = self.answering => Ok(()),
            () = hurry => Err(Error::Interrupted),
        }
    }
}
