//! Another engine in a process of its own, which is asked and answers by lines of JSON.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::venv;

/// What they are, pinned.
const PACKAGES: [&str; 5] =
    ["deltalake==1.6.6", "polars==2.1.0", "pyarrow==26.0.1", "duckdb==1.5.5", "duckdb-extension-delta==1.5.5"];

/// What work took: seconds of the clock and of processors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// The middle ones of several, each for itself.
pub(crate) fn middle(took: &[Took]) -> Took {
    let middle = |of: fn(&Took) -> f64| {
        let mut all: Vec<f64> = took.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Took { wall: middle(|one| one.wall), cpu: middle(|one| one.cpu) }
}

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// DuckDB and Polars; none, with a line that says so, where they cannot be had.
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(python) = venv::python(&PACKAGES)? else { return Ok(None) };
        let script = spout_tests::root().join("tests/bench/src/peer.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let asks = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?);
        let mut peer = Self { child, asks, answers };
        let versions = peer.ask(&json!({"do": "versions", "of": ["duckdb", "polars"]}))?.0;
        println!("  peers: {}", versions.first().unwrap_or(&Value::Null));
        Ok(Some(peer))
    }

    /// The rows of its answer, and what that took.
    pub(crate) fn ask(&mut self, what: &Value) -> Result<(Vec<Value>, Took)> {
        writeln!(self.asks, "{what}")?;
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the peer ended at {what}");
        let answer: Value = serde_json::from_str(&line)?;
        let seconds = |name: &str| answer.get(name).and_then(Value::as_f64).unwrap_or_default();
        let took = Took { wall: seconds("wall"), cpu: seconds("cpu") };
        Ok((answer.get("rows").and_then(Value::as_array).cloned().unwrap_or_default(), took))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
