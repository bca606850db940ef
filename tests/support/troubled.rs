//! A place with the guest `troubled`, whose source has the troubles that a file names.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{Running, Site, guests};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place whose source does what its script says.
#[derive(Debug)]
pub struct Troubled {
    /// Where it is.
    pub site: Site,
}

impl Troubled {
    /// A place with the pipeline `e` in `e.yaml`; `stream` is added to its source, and `rest` to its spec.
    ///
    /// # Errors
    /// If the guest was not built.
    pub fn new(stream: &str, rest: &str) -> Result<Self> {
        let mut site = Site::new()?;
        let dir = site.path().join("plugins");
        fs::create_dir(&dir)?;
        for guest in ["troubled", "hostile"] {
            let from = guests().join(format!("{guest}.wasm"));
            fs::copy(&from, dir.join(format!("{guest}.wasm")))
                .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
        }
        site.plugins = dir;
        fs::create_dir(site.path().join("t"))?;
        let spec = format!(
            "pipeline: {{name: e}}
producer:
  stream: {{plugin: troubled, topic: t, discoverEvery: 20ms, readers: 2, fetch: {{timeout: 10ms}}, metadata: [partition, offset]{stream}}}
  decoder: {{type: json, schema: {{p: int64, n: int64}}}}
grants: {{troubled: {{dirs: {{t: {{path: ./t, write: true}}}}}}}}
limits: {{call: 2s}}
{rest}
"
        );
        site.write("e.yaml", spec)?;
        Ok(Self { site })
    }

    /// What its source is from now on. Nobody sees half of it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn script(&self, lines: &str) -> Result<()> {
        let new = self.site.write("t/new", lines)?;
        Ok(fs::rename(new, self.site.path().join("t/script"))?)
    }

    /// The positions that the source was told of last, by partition.
    #[must_use]
    pub fn told(&self) -> Vec<(u32, u64)> {
        let text = fs::read_to_string(self.site.path().join("t/committed")).unwrap_or_default();
        let line = |line: &str| {
            let (partition, offset) = line.split_once(' ')?;
            Some((partition.parse::<u32>().ok()?, offset.parse::<u64>().ok()?))
        };
        let mut last = std::collections::BTreeMap::<u32, u64>::new();
        last.extend(text.lines().filter_map(line));
        last.into_iter().collect()
    }

    /// Starts the pipeline.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> Result<Running> {
        self.site.start(&["run", "e.yaml"])
    }

    /// What is said of the pipeline, once that is so.
    ///
    /// # Errors
    /// If it does not become so.
    pub fn reach(&self, so: impl Fn(&Value) -> bool) -> Result<Value> {
        reach(&self.site, "e", so)
    }

    /// Waits until so many rows are committed.
    ///
    /// # Errors
    /// If they do not come.
    pub fn rows(&self, expected: u64) -> Result<()> {
        let started = Instant::now();
        loop {
            let found = self.site.number("select count(*) from e", None);
            if found.as_ref().is_ok_and(|found| *found == expected) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{found:?} rows, not {expected}");
        }
    }
}

/// What is said of a pipeline, once that is so.
///
/// # Errors
/// If it does not become so.
pub fn reach(site: &Site, pipeline: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    let started = Instant::now();
    loop {
        // Before its first commit, or its socket, nobody knows of it.
        let about = site.json(&["pipeline", "status", pipeline]);
        if let Ok(about) = &about
            && let Some(about) = about.first()
            && so(about)
        {
            return Ok(about.clone());
        }
        if started.elapsed() > PATIENCE {
            bail!("the pipeline stays so: {about:?}");
        }
    }
}

/// Has a run commit what it has read, and end well.
///
/// # Errors
/// If it fails.
pub fn stop(run: Running) -> Result<()> {
    run.signal("TERM")?;
    let (fine, said) = run.end()?;
    ensure!(fine, "{said}");
    Ok(())
}

/// The partition of this number in a status.
///
/// # Errors
/// If there is none.
pub fn partition(status: &Value, number: u64) -> Result<&Value> {
    let all = status["partitions"].as_array().context("partitions")?;
    all.iter().find(|one| one["partition"] == number).with_context(|| format!("no partition {number}: {status}"))
}
