//! The requests that verbs on pipelines are.

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use reqwest::{Method, Response};
use serde_json::json;
use spout_api::{
    Error, Graph, LogLine, PipelineLine, Pipelines, PipelinesChanged, Result, ShownSpec, SpecText, Status,
};

use crate::{Remote, link::Link, remote::word};

/// A server whose lines are longer than this is none of ours.
const LONGEST: usize = 1 << 20;

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
        let reading = Reading { link: self.link.clone(), answer, buffer: BytesMut::new() };
        let lines = stream::try_unfold(reading, |mut reading| async move {
            let line = reading.next().await?;
            Ok::<_, Error>(line.map(|line| (line, reading)))
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
}

/// Lines on their way.
struct Reading {
    link: Link,
    answer: Response,
    buffer: BytesMut,
}

impl Reading {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                // Without anything, it only says that the server is still there.
                if line.is_empty() {
                    continue;
                }
                let line = serde_json::from_slice(&line);
                return line.map(Some).map_err(|error| self.link.foreign(error.to_string()));
            }
            if self.buffer.len() > LONGEST {
                return Err(self.link.foreign("a line of the log does not end".into()));
            }
            match self.answer.chunk().await.map_err(|error| self.link.broken(&error))? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}
