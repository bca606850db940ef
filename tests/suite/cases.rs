//! The cases of the library our handlers come from: each directory of `tests/cases` brings specs with tests of their own.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, root};

#[test]
fn every_case_passes() -> Result<()> {
    let site = Site::new()?;
    let (mut cases, mut failed) = (0, Vec::new());
    for entry in fs::read_dir(root().join("tests/cases"))? {
        let case = entry?.path();
        if !case.is_dir() {
            continue;
        }
        cases += 1;
        let spec = case.join("spec.yaml");
        let output = site.run(&["test", spec.to_str().context("a path in UTF-8")?])?;
        if !output.status.success() {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            failed.push(format!("{}\n{out}{err}", case.display()));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(cases > 0, "tests/cases holds no case");
    Ok(())
}

#[test]
fn a_test_that_fails_says_what_differs() -> Result<()> {
    let site = Site::new()?;
    let spec = "pipeline: {name: p}
producer: {stream: {plugin: files, topic: in}, decoder: {type: json}}
node: [{id: low, type: filter, where: 'n < 3'}]
tests:
  - {name: right, input: [{n: 1}, {n: 3}], expect: [{n: 1}]}
  - {name: wrong, input: [{n: 1}, {n: 2}], expect: [{n: 1}, {n: 4}]}
  - {name: unknown, input: [{n: 1}], expect: [{m: 1}]}
  - {name: broken, lines: ['{\"n\": 1}', '{\"n'], expect: [{n: 1}], expectErrors: [{stage: decode, code: json.syntax}]}
";
    site.write("p.yaml", spec)?;
    let output = site.run(&["test", "p.yaml"])?;
    let out = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{out}");
    for part in
        ["ok      p: right", "FAILED  p: wrong", "- {\"n\":4}", "+ {\"n\":2}", "no column `m`", "ok      p: broken"]
    {
        ensure!(out.contains(part), "no {part:?} in\n{out}");
    }
    site.fails(&["test", "p.yaml", "--only", "wrong"], 1, &["E0830", "1 of 1 test"])?;
    let lines = String::from_utf8(site.run(&["test", "p.yaml", "--json"])?.stdout)?;
    ensure!(lines.contains(r#""test":"wrong","passed":false"#) && lines.contains(r#""missing":[{"n":4}]"#), "{lines}");
    site.write("none.yaml", spec.split("tests:").next().unwrap_or_default())?;
    site.fails(&["test", "none.yaml"], 2, &["E0831"])?;
    Ok(())
}
