//! The command line as people and programs meet it: exit codes, errors with a code, JSON, closed pipes.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

const GOOD: &str = "pipeline: {name: p}\nproducer:\n  stream: {plugin: files, topic: in}\n  decoder: {type: json}\n";

#[test]
fn a_wrong_spec_is_named_by_line_and_exits_with_2() -> Result<()> {
    let site = Site::new()?;
    let check = |text: &str, parts: &[&str]| -> Result<()> {
        site.write("spec.yaml", text)?;
        site.fails(&["check", "spec.yaml"], 2, parts)?;
        site.fails(&["run", "spec.yaml"], 2, parts).map(drop)
    };
    let replaced = |from: &str, to: &str| GOOD.replace(from, to);
    check(
        &replaced("plugin", "pluginn"),
        &["error[E0103]: spec.yaml:3:", "`producer.stream.pluginn`", "did you mean `plugin`?", "spout explain E0103"],
    )?;
    check(
        &replaced("{name: p}", "{name: [p]}"),
        &["error[E0104]: spec.yaml:1: `pipeline.name` is a list; expected a text"],
    )?;
    check(
        &format!("{GOOD}commit: {{flush: {{rows: many}}}}\n"),
        &["error[E0104]: spec.yaml:5:", "expected a whole number"],
    )?;
    check(&format!("{GOOD}---\n{GOOD}"), &["error[E0112]: spec.yaml:6:", "`p@master`"])?;
    check(&format!("{GOOD}---\n{}commit: {{branch: other}}\n", GOOD), &["error[E0111]: spec.yaml:6:"])?;
    check("{\"pipeline\": {\"name\": \"p\"},", &["error[E0102]: spec.yaml:1:"])?;
    check("", &["error[E0105]", "spout schema --example"])?;
    site.fails(&["run", "nowhere.yaml"], 2, &["error[E0101]", "nowhere.yaml", "caused by: No such file"])?;
    ensure!(!site.path().join("store").exists(), "a refused spec made a store");
    Ok(())
}

#[test]
fn errors_are_one_line_of_json_where_programs_read() -> Result<()> {
    let site = Site::new()?;
    let check = |args: &[&str], code: &str| -> Result<()> {
        let error = site.fails(args, 2, &[])?;
        let value: Value = serde_json::from_str(error.trim()).with_context(|| error.clone())?;
        ensure!(value.get("code").and_then(Value::as_str) == Some(code), "{args:?}: {error}");
        ensure!(value.get("error").is_some_and(Value::is_string), "{args:?}: {error}");
        Ok(())
    };
    check(&["check", "nowhere.yaml", "--json"], "E0101")?;
    check(&["explain", "E9999", "--json"], "E0802")?;
    check(&["dance", "--json"], "E0801")?;
    check(&["list", "repo", "--json", "--store", "nowhere"], "E0502")
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() -> Result<()> {
    let site = Site::new()?;
    site.fails(&["dance"], 2, &["dance"])?;
    site.fails(&["run"], 2, &["SPEC"])?;
    site.fails(&["get", "file"], 2, &["REFERENCE"])?;
    for verb in [&["--help"][..], &["run", "--help"], &["list", "commit", "--help"], &["plugin", "build", "--help"]] {
        let help = site.ok(verb)?;
        ensure!(help.contains("Examples:"), "{verb:?} has no examples");
    }
    Ok(())
}

#[test]
fn every_code_can_be_explained() -> Result<()> {
    let site = Site::new()?;
    let all = site.json(&["explain"])?;
    ensure!(all.len() > 40, "only {} codes", all.len());
    for entry in &all {
        let code = entry.get("code").and_then(Value::as_str).context("a code")?;
        let page = site.ok(&["explain", code])?;
        ensure!(page.starts_with(&format!("# {code}: ")), "{code}: {page}");
    }
    Ok(())
}

#[test]
fn the_example_and_the_schema_go_together() -> Result<()> {
    let site = Site::new()?;
    let example = site.ok(&["schema", "--example"])?;
    site.write("spec.yaml", &example)?;
    // Whatever is said of it is about plugins and directories, which are not here: the spec itself is right.
    site.write("plugins/README.md", "")?;
    let output = site.run(&["check", "spec.yaml", "--plugins", "plugins"])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(error.contains("error[E02"), "{error}");
    let schema: Value = serde_json::from_str(&site.ok(&["schema"])?)?;
    ensure!(schema.pointer("/properties/pipeline").is_some(), "{schema}");
    Ok(())
}

#[test]
fn an_empty_store_says_how_to_get_something() -> Result<()> {
    let site = Site::new()?;
    site.write("store/repos/.keep", "")?;
    let said = site.ok(&["list", "repo"])?;
    ensure!(said.contains("no repos") && said.contains("spout run"), "{said}");
    ensure!(site.ok(&["list", "repo", "--json"])?.is_empty(), "JSON has no words");
    site.fails(&["list", "commit", "nope"], 2, &["error[E0510]", "`nope`"])?;
    site.fails(&["sql", "select * from nope"], 2, &["error[E0550]"])?;
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_error() -> Result<()> {
    let site = Site::new()?;
    let mut child = site.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = String::new();
    BufReader::new(child.stdout.take().context("standard output")?).read_line(&mut first)?;
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && error.is_empty(), "{}: {error}", output.status);
    Ok(())
}
