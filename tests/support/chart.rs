//! What Helm makes of a chart, without a cluster: its own library does, from PyPI, and schemas of Kubernetes say whether that is right.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::venv;

/// Helm 4 as a library, and the schemas.
const PACKAGES: [&str; 3] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0", "PyYAML==6.0.4"];
const SCRIPT: &str = include_str!("chart.py");

/// The objects that a chart is with some values, or what is wrong with those.
pub type Rendered = Result<Vec<Value>, String>;

/// The objects that `chart` is with these values, or what is wrong with them; as the release `name` in `namespace`. `None` where Helm cannot be
/// installed.
///
/// # Errors
/// If it cannot be asked.
pub fn rendered(chart: &Path, (name, namespace): (&str, &str), values: &[Value]) -> Result<Option<Vec<Rendered>>> {
    let Some(python) = venv::python(&PACKAGES)? else { return Ok(None) };
    let mut helm = Command::new(python);
    helm.args(["-c", SCRIPT]).arg(chart).args([name, namespace]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut helm = helm.spawn()?;
    let mut asks = helm.stdin.take().context("standard input")?;
    values.iter().try_for_each(|values| writeln!(asks, "{values}"))?;
    drop(asks);
    let output = helm.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    let answers: Vec<_> = said.lines().map(answer).collect::<Result<_>>()?;
    ensure!(answers.len() == values.len(), "{} answers to {} values", answers.len(), values.len());
    Ok(Some(answers))
}

fn answer(line: &str) -> Result<Rendered> {
    let answer: Value = serde_json::from_str(line)?;
    Ok(match answer.get("objects").and_then(Value::as_array) {
        Some(objects) => Ok(objects.clone()),
        None => Err(answer["wrong"].as_str().context("what is wrong")?.to_owned()),
    })
}
