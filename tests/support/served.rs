//! A running `spout serve`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Running, Site,
    http::{Answer, request},
};

/// A server on a site.
#[derive(Debug)]
pub struct Served {
    /// Its process.
    pub running: Running,
    /// Host and port.
    pub address: String,
}

impl Served {
    /// Starts a server on a port of its own.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(site: &Site, args: &[&str]) -> Result<Self> {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(args);
        let mut running = site.start(&all)?;
        let said = running.wait_for("serving")?;
        let Some(said) = said else { bail!("it did not start: {}", running.end()?.1) };
        let address = said.get("address").and_then(Value::as_str).context("an address")?.to_owned();
        Ok(Self { running, address })
    }

    /// What it answers to a GET.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        request(&self.address, &format!("GET {path}"), &[], b"")
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it says of a pipeline, once that is so; within a minute.
    ///
    /// # Errors
    /// If it does not become so.
    pub fn reach(&self, pipeline: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
        let started = Instant::now();
        loop {
            let about = self.get(&format!("/v1/pipelines/{pipeline}"))?.json()?;
            if so(&about) {
                return Ok(about);
            }
            ensure!(started.elapsed() < Duration::from_secs(60), "the pipeline {pipeline} stays so: {about}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it, which has to succeed.
    ///
    /// # Errors
    /// If it does not, with what it said.
    pub fn stop(self) -> Result<()> {
        self.running.signal("TERM")?;
        let (success, err) = self.running.end()?;
        ensure!(success, "the server failed at its end: {err}");
        Ok(())
    }
}
