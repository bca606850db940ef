//! The requests that verbs on pipelines are.

use async_trait::async_trait;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use reqwest::Method;
use serde_json::{Value, json};
use spout_api::{
    Error, Graph, LogLine, PipelineLine, Pipelines, PipelinesChanged, Result, ShownSpec, SpecText, Status, Tapped,
};

use crate::{Remote, lines::Lines, remote::word};

/// A server whose lines are longer than this is none of ours.
const LONGEST: usize = 1 << 20;
/// A sample of rows is a line too.
const LONGEST_SAMPLE: usize = 8 << 20;

#[async_trait]
impl Pipelines for Remote {
    async fn pipelines(&self) -> Result<Vec<PipelineLine>> {
        self.get(["specs"], &[]).await
    }

    async fn status(&self, name: &str) -> Result<Status> {
        self.get(["pipelines", name], &[]).await
    }

    async fn spec(&self, name: &str) -> Result<ShownSpec> {
        self.get(["pipelines", name, "spec"], &[]).await
    }

    async fn graph(&self) -> Result<Graph> {
        self.get(["graph"], &[]).await
    }

    async fn replay_dead_letters(&self, name: &str, to: Option<&str>) -> Result<PipelinesChanged> {
        let request = self.link.request(Method::POST, ["pipelines", name, "deadletters", "replay"], &[]);
        self.link.post(request, &json!({"to": to})).await
    }

    async fn create_pipelines(&self, specs: &[SpecText]) -> Result<PipelinesChanged> {
        let request = self.link.request(Method::POST, ["pipelines"], &[]);
        self.link.post(request, &json!({"specs": specs})).await
    }

    async fn update_pipelines(&self, specs: &[SpecText], reprocess: bool) -> Result<PipelinesChanged> {
        let request = self.link.request(Method::PUT, ["pipelines"], &[]);
        self.link.post(request, &json!({"specs": specs, "reprocess": reprocess})).await
    }

    async fn set_running(&self, name: &str, running: bool) -> Result<PipelinesChanged> {
        let verb = if running { "start" } else { "stop" };
        self.link.json(self.link.request(Method::POST, ["pipelines", name, verb], &[])).await
    }

    async fn restart_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        self.link.json(self.link.request(Method::POST, ["pipelines", name, "restart"], &[])).await
    }

    async fn flush_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        self.link.json(self.link.request(Method::POST, ["pipelines", name, "flush"], &[])).await
    }

    async fn delete_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        self.link.json(self.link.request(Method::DELETE, ["pipelines", name], &[])).await
    }

    async fn log(&self, name: &str, recent: usize, follow: bool) -> Result<BoxStream<'static, Result<LogLine>>> {
        let recent = recent.to_string();
        let query = [("recent", recent.as_str()), ("follow", word(follow))];
        let answer = self.link.send(self.link.request(Method::GET, ["pipelines", name, "log"], &query)).await?;
        let lines = stream::try_unfold(Lines::of(&self.link, answer, LONGEST), |mut lines| async move {
            let line = lines.next().await?;
            let line = line.map(|line| serde_json::from_slice(&line).map_err(|error| lines.foreign(&error)));
            Ok::<_, Error>(line.transpose()?.map(|line| (line, lines)))
        });
        Ok(lines.boxed())
    }
}

impl Remote {
    /// What the pipelines are doing that it runs.
    ///
    /// # Errors
    /// As every verb.
    pub async fn statuses(&self) -> Result<Vec<Status>> {
        self.get(["pipelines"], &[]).await
    }

    /// What the pipelines are doing that it runs, with whatever else it says of them.
    ///
    /// # Errors
    /// As every verb.
    pub async fn looks(&self) -> Result<Vec<Value>> {
        self.get(["pipelines"], &[]).await
    }

    /// The same of one, with its partitions.
    ///
    /// # Errors
    /// As every verb.
    pub async fn look(&self, name: &str) -> Result<Value> {
        self.get(["pipelines", name], &[]).await
    }

    /// Rows of a running pipeline that leave `handler`, or the last one: one of so many, until there were enough.
    ///
    /// # Errors
    /// As every verb.
    pub async fn tap(
        &self,
        name: &str,
        handler: Option<&str>,
        every: u64,
        rows: Option<u64>,
    ) -> Result<BoxStream<'static, Result<Tapped>>> {
        let (every, rows) = (every.to_string(), rows.map(|rows| rows.to_string()));
        let after = handler.map(|handler| ("after", handler));
        let rows = rows.as_deref().map(|rows| ("rows", rows));
        let query: Vec<(&str, &str)> = after.into_iter().chain(rows).chain([("every", every.as_str())]).collect();
        let answer = self.link.send(self.link.request(Method::GET, ["pipelines", name, "tap"], &query)).await?;
        let samples = stream::try_unfold(Lines::of(&self.link, answer, LONGEST_SAMPLE), |mut lines| async move {
            while let Some(line) = lines.next().await? {
                // There is one kind of event.
                if let Some(data) = line.strip_prefix(b"data: ") {
                    let tapped = serde_json::from_slice(data).map_err(|error| lines.foreign(&error))?;
                    return Ok::<_, Error>(Some((tapped, lines)));
                }
            }
            Ok(None)
        });
        Ok(samples.boxed())
    }
}
