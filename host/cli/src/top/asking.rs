//! Who knows what pipelines are doing, and does what is ordered of them.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spout_client::Remote;
use tokio::time::timeout;

use crate::Global;

/// Who does not answer within this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The server, or the processes of this machine.
#[derive(Debug)]
pub(super) struct Asked {
    global: Global,
}

/// What is to be done with a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) pipeline: String,
    pub(super) verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Pause,
    Resume,
    Flush,
}

impl Verb {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Flush => "flush",
        }
    }
}

impl Asked {
    pub(super) fn new(global: &Global) -> Self {
        Self { global: global.clone() }
    }

    /// What all pipelines are doing, by name.
    pub(super) async fn all(&self) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = Vec::new();
        if let Some(server) = self.global.server_named()? {
            all = server.looks().await?;
        } else {
            for process in self.global.processes() {
                // One that is gone by now has nothing to say.
                all.extend(timeout(PATIENCE, process.looks()).await.ok().and_then(Result::ok).unwrap_or_default());
            }
        }
        all.sort_by_key(|status| status["name"].as_str().unwrap_or_default().to_owned());
        all.dedup_by_key(|status| status["name"].clone());
        Ok(all)
    }

    /// What one is doing, with its partitions.
    pub(super) async fn one(&self, name: &str) -> Option<Value> {
        let process: Remote = self.global.running(name).await.ok()?;
        timeout(PATIENCE, process.look(name)).await.ok()?.ok()
    }

    /// Does it; in a word or two, what was done.
    pub(super) async fn order(&self, order: &Order) -> Result<String> {
        let steering = self.global.steering(&order.pipeline).await?;
        let changed = match order.verb {
            Verb::Pause => steering.set_running(&order.pipeline, false).await?,
            Verb::Resume => steering.set_running(&order.pipeline, true).await?,
            Verb::Flush => steering.flush_pipeline(&order.pipeline).await?,
        };
        Ok(changed.done)
    }
}
