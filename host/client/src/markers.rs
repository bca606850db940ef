//! The requests that verbs on markers are.

use async_trait::async_trait;
use reqwest::Method;
use serde::Serialize;
use spout_api::{Markers, Result, SeekTo, SkipPast, Sought};

use crate::Remote;

#[async_trait]
impl Markers for Remote {
    async fn seek(&self, output: &str, wanted: &SeekTo) -> Result<Sought> {
        self.moved(output, "seek", wanted).await
    }

    async fn skip(&self, output: &str, wanted: &SkipPast) -> Result<Sought> {
        self.moved(output, "skip", wanted).await
    }
}

impl Remote {
    async fn moved(&self, output: &str, verb: &str, wanted: &impl Serialize) -> Result<Sought> {
        let (pipeline, branch) = output.split_once('@').map_or((output, None), |(name, branch)| (name, Some(branch)));
        let query: Vec<(&str, &str)> = branch.map(|branch| ("branch", branch)).into_iter().collect();
        let request = self.link.request(Method::POST, ["pipelines", pipeline, verb], &query);
        self.link.post(request, wanted).await
    }
}
