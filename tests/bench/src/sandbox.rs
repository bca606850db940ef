//! Plugins as the host runs them, without a pipeline around.

use std::path::Path;

use anyhow::Result;
use spout_plugin::{GrantSpec, LimitsSpec, Metrics, Plugins, Quotas, Task};

/// A task of the plugin `name` in `dir`.
pub(crate) async fn task(dir: &Path, name: &str, settings: &[(&str, &str)]) -> Result<Task> {
    granted(dir, name, settings, GrantSpec::default()).await
}

/// As [`task`], with grants.
pub(crate) async fn granted(dir: &Path, name: &str, settings: &[(&str, &str)], grants: GrantSpec) -> Result<Task> {
    let plugins = Plugins::open(dir, Some(&spout_tests::root().join("target/bench-cache")))?;
    Ok(Task {
        pipeline: "bench".into(),
        plugin: plugins.get(name).await?,
        offer: String::new(),
        grants,
        exposed: None,
        limits: LimitsSpec::default(),
        quotas: Quotas::default(),
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        draining: Default::default(),
        metrics: Metrics::default(),
    })
}

/// A task of one of several offers of a plugin.
pub(crate) async fn offer(dir: &Path, name: &str, offer: &str) -> Result<Task> {
    Ok(Task { offer: offer.into(), ..task(dir, name, &[]).await? })
}
