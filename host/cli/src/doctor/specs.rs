//! What specs use: their plugins, what is granted, and whether their sources answer.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use spout_base::clock;
use spout_pipeline::{Partitions, Parts};
use spout_plugin::GrantSpec;
use spout_producer::{Class, Peek};
use spout_repo::Store;
use spout_spec::{Loaded, load_every};
use tokio::{net::TcpStream, time::timeout};

use super::{Line, store::wrong};
use crate::{
    Global,
    findings::{Examined, examine_all},
    print::{count, short},
};

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a source may take to say which partitions it has.
const ASKED: Duration = Duration::from_secs(5);

/// Something to be looked at.
#[derive(Debug)]
pub(super) enum Looking {
    /// What is known of it already.
    Known(Line),
    /// What a pipeline reads.
    Source(Box<Source>),
}

/// What a pipeline reads.
#[derive(Debug)]
pub(super) struct Source {
    pipeline: String,
    /// Where its plugins may connect to, as far as that is one host and port.
    addresses: BTreeSet<String>,
    /// Why it is not asked for its partitions.
    unasked: Option<String>,
    parts: Parts,
}

/// What is to be said of these specs.
pub(super) async fn prepare(specs: &[PathBuf], global: &Global) -> Vec<Looking> {
    if specs.is_empty() {
        return Vec::new();
    }
    let (loaded, wrong) = load_every(specs);
    let (examined, findings) = Box::pin(examine_all(loaded, wrong, global)).await;
    let mut all: Vec<Looking> = Vec::new();
    for finding in findings {
        let advice = finding.code().map(|code| format!("`spout explain {code}` says more")).unwrap_or_default();
        all.extend(finding.text().map(|text| Looking::Known(Line::error("spec", text, advice))));
    }
    for (loaded, examined) in examined {
        let Examined { plugins, parts, .. } = examined;
        for plugin in &plugins {
            let is = format!("sha256 {}, compiled and kept for the next start", short(&plugin.digest));
            all.push(Looking::Known(Line::ok(format!("plugin {}", plugin.name), is)));
        }
        if let Some(parts) = parts {
            all.push(Looking::Source(Box::new(Source::of(&loaded, parts))));
        }
    }
    all
}

impl Source {
    fn of(loaded: &Loaded, parts: Parts) -> Self {
        let own = loaded.spec.producers().map(|(_, producer)| &producer.grants);
        let grants = std::iter::once(&loaded.spec.grants).chain(own).flat_map(|grants| grants.values());
        let unasked = loaded.spec.sources().find_map(|(_, source)| match source.spec.peek() {
            Peek::Harmless if source.spec.promise().class == Class::Push => {
                Some("it takes what others send".to_owned())
            }
            Peek::Harmless => None,
            Peek::Passing(why) | Peek::Harmful(why) | Peek::Impossible(why) => Some(why),
        });
        Self {
            pipeline: loaded.spec.pipeline.name.clone(),
            addresses: grants.flat_map(addresses).collect(),
            unasked,
            parts,
        }
    }

    /// Whether everything that it is read through answers.
    pub(super) async fn look(&self, store: Option<&Store>) -> Vec<Line> {
        let mut lines = Vec::new();
        for address in &self.addresses {
            lines.push(reach(&self.pipeline, address).await);
        }
        let what = format!("source of {}", self.pipeline);
        let line = match &self.unasked {
            Some(why) => Line::ok(what, format!("not asked for its partitions: {why}")),
            None => match Box::pin(self.parts.partitions(store, ASKED)).await {
                Ok(Partitions::Found(partitions)) => Line::ok(what, count(partitions as u64, "partition")),
                Ok(Partitions::Silent(why)) => Line::error(
                    what,
                    format!("did not say within {} s which partitions it has{why}", ASKED.as_secs()),
                    "check its address, that it runs, and that it can be reached from this machine",
                ),
                Err(error) => wrong(&what, &error),
            },
        };
        lines.push(line);
        lines
    }
}

/// Where a plugin may connect to, as far as that is one host and one port.
fn addresses(grant: &GrantSpec) -> Vec<String> {
    let endpoints = grant.endpoints.values().flat_map(|endpoint| endpoint.addresses());
    let all = grant.net.iter().chain(endpoints).map(ToString::to_string);
    all.filter(|address| {
        let (host, port) = address.rsplit_once(':').unwrap_or_default();
        !host.contains(['*', '/']) && port.parse::<u16>().is_ok()
    })
    .collect()
}

async fn reach(pipeline: &str, address: &str) -> Line {
    let (what, begun) = (format!("{address}, for {pipeline}"), clock::now());
    let advice = "check the address, that somebody listens there, and firewalls between; grants name what a plugin may connect to";
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Line::ok(what, format!("takes connections, after {} ms", begun.elapsed().as_millis())),
        Ok(Err(error)) => Line::error(what, format!("takes no connection: {error}"), advice),
        Err(_) => Line::error(what, format!("does not answer within {} s", PATIENCE.as_secs()), advice),
    }
}
