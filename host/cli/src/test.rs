//! `spout test`: runs the tests that specs bring along.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spout_pipeline::{Problem, Rehearsal, Verdict};
use spout_spec::{Loaded, load_all};

use super::{
    Global,
    error::Error,
    print::{Printer, count},
};

/// Run the tests in specs: rows in, rows out, without a source or repo.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout test my.yaml
  spout test one.yaml two.yaml --json
  spout test my.yaml --only 'pushes of bots'

Tests are part of the spec:
  tests:
    - name: only pushes remain
      input: [{id: 1, kind: push}, {id: 2, kind: star}]
      expect: [{id: 1}]
    - name: broken lines are set aside        messages as they arrive, one a line
      text: |
        {\"id\": 1, \"kind\": \"push\"}
        broken
      expect: [{id: 1}]
      expectErrors: [{code: json.syntax}]")]
pub(super) struct Test {
    /// Spec files, YAML or JSON, with one or more pipelines each.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Run only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// How a test went, as a JSON line.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    pipeline: &'a str,
    file: String,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

impl Test {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let specs = load_all(&self.specs)?;
        let wanted = |name: &str| self.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        let has = |loaded: &&Loaded| loaded.spec.tests.iter().any(|test| wanted(&test.name));
        let plugins = if specs.iter().filter(has).any(|loaded| Rehearsal::needs_plugins(&loaded.spec)) {
            Some(global.open_plugins()?)
        } else {
            None
        };
        let (mut passed, mut failed) = (0, 0);
        for loaded in specs.iter().filter(has) {
            let plugins = plugins.as_ref().filter(|_| Rehearsal::needs_plugins(&loaded.spec));
            let rehearsal = Rehearsal::open(loaded, plugins).await?;
            for test in loaded.spec.tests.iter().filter(|test| wanted(&test.name)) {
                let verdict = rehearsal.run(test).await?;
                if verdict.passed {
                    passed += 1
                } else {
                    failed += 1
                }
                print(loaded, &verdict, printer)?;
            }
        }
        match (passed, failed) {
            (0, 0) => Err(self.none(&specs).into()),
            (_, 0) if printer.json() => Ok(()),
            (_, 0) => printer.line(format!("{} passed", count(passed, "test"))),
            _ => Err(Error::TestsFailed { failed, tests: count(passed + failed, "test") }.into()),
        }
    }

    fn none(&self, specs: &[Loaded]) -> Error {
        let names: Vec<&str> =
            specs.iter().flat_map(|loaded| loaded.spec.tests.iter()).map(|test| test.name.as_str()).collect();
        match &self.only {
            Some(only) if !names.is_empty() => Error::Usage {
                verb: "test",
                what: format!("no test name contains `{only}`; the tests are: {}", names.join(", ")),
            },
            _ => {
                let files: Vec<String> = self.specs.iter().map(|path| path.display().to_string()).collect();
                Error::NoTests { what: format!("there is no test in {}", files.join(", ")) }
            }
        }
    }
}

fn print(loaded: &Loaded, verdict: &Verdict, printer: &mut Printer) -> Result<()> {
    let pipeline = loaded.spec.pipeline.name.as_str();
    if printer.json() {
        return printer.value(&Answer { pipeline, file: loaded.path.display().to_string(), verdict });
    }
    let word = if verdict.passed { "ok    " } else { "FAILED" };
    printer.line(format!("{word}  {pipeline}: {}", verdict.test))?;
    for Problem { what, diff, unexpected, .. } in &verdict.problems {
        printer.line(format!("        {what}"))?;
        for line in diff {
            printer.line(format!("          {line}"))?;
        }
        if diff.is_empty() {
            for row in unexpected {
                printer.line(format!("          + {}", serde_json::Value::Object(row.clone())))?;
            }
        }
    }
    Ok(())
}
