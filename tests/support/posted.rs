//! Pipelines of a server that take rows with an id over HTTP.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{Site, http::request, served::Served};

/// The spec of one; `more` is what else its text says.
#[must_use]
pub fn http(name: &str, more: &str) -> String {
    format!(
        "pipeline: {{name: {name}}}\nproducer:\n  http: {{listen: '127.0.0.1:0'}}\n  decoder: {{type: json, schema: {{id: int64}}}}\n{more}"
    )
}

/// Whether one runs and says where it listens.
#[must_use]
pub fn running(about: &Value) -> bool {
    about["state"] == "running" && about["address"].is_string()
}

/// Posts a row to one; the status of the answer.
///
/// # Errors
/// If the pipeline does not run or does not answer.
pub fn post(served: &Served, pipeline: &str, id: u64) -> Result<u16> {
    let about = served.reach(pipeline, running)?;
    let port = about["address"].as_str().context("an address")?;
    let body = format!("{{\"id\":{id}}}\n");
    Ok(request(port, "POST /", &[("content-type", "application/x-ndjson")], body.as_bytes())?.status)
}

/// The ids of the rows in a repo, in order.
///
/// # Errors
/// If the repo can't be read, or a row has no id.
pub fn ids(site: &Site, repo: &str) -> Result<Vec<u64>> {
    let rows = site.json(&["sql", &format!("select id from {repo} order by id")])?;
    rows.iter().map(|row| row["id"].as_u64().context("an id")).collect()
}
