//! What became of every message is said: at the end, by `list commit`, by `inspect commit`, in JSON, and by the exit code.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use spout_tests::Site;

/// Six lines, each with another fate: rows, a dead letter, filtered rows of two handlers, a late one.
const LINES: &str = r#"{"id":1,"t":"2026-01-01T00:00:00Z"}
{"id":2,"t":"2026-01-01T00:01:00Z"}
{"id":
{"id":3,"t":"2026-01-01T00:01:00Z"}
{"id":2,"t":"2026-01-01T00:01:10Z"}
{"id":4,"t":"2025-12-31T23:00:00Z"}
"#;

fn spec(name: &str, rest: &str) -> String {
    format!(
        "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: {name}.ndjson, follow: false}}}}
  decoder: {{type: json, schema: {{id: int64, t: 'timestamp(us, UTC)'}}}}
commit: {{path: /t/}}
grants: {{files: {{dirs: {{in: ./in}}}}}}
{rest}
"
    )
}

/// A site where `NAME.yaml` reads `text`.
fn site(name: &str, text: &str, rest: &str) -> Result<Site> {
    let site = Site::new()?;
    site.write(&format!("in/{name}.ndjson"), text)?;
    site.write(&format!("{name}.yaml"), spec(name, rest))?;
    Ok(site)
}

fn number(value: &Value, key: &str) -> u64 {
    match value.get(key) {
        Some(Value::Object(by_handler)) => by_handler.values().filter_map(Value::as_u64).sum(),
        other => other.and_then(Value::as_u64).unwrap_or_default(),
    }
}

/// Messages, rows, dead letters, dropped, filtered and late.
fn fates(value: &Value) -> [u64; 6] {
    ["messages", "rows", "dead_letters", "dropped", "filtered", "late"].map(|key| number(value, key))
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const FATES: &str = "node:
  - {id: three, type: filter, where: id <> 3}
  - {id: once, type: dedupe, by: [id], within: 1m}
time: {column: t, late: side}
";

#[test]
fn every_message_has_a_fate_and_they_add_up() -> Result<()> {
    let check = |errors: &str, expected: [u64; 6], said: &str| -> Result<()> {
        let site = site("a", LINES, &format!("{FATES}{errors}"))?;
        let mut running = site.start(&["run", "a.yaml", "--until", "ended"])?;
        let stopped = running.wait_for("stopped")?.context("it stops")?;
        let (success, error) = running.end()?;
        ensure!(success && fates(&stopped) == expected, "{stopped}\n{error}");
        ensure!(expected[0] == expected[1..].iter().sum::<u64>(), "they do not add up: {expected:?}");
        ensure!(stopped.pointer("/reasons/0/code").and_then(Value::as_str).is_some_and(|code| code.contains('.')));
        let commits = site.json(&["list", "commit", "a"])?;
        let sum = |key: &str| commits.iter().map(|commit| number(commit, key)).sum::<u64>();
        ensure!(fates(&stopped) == ["messages", "rows", "dead_letters", "dropped", "filtered", "late"].map(sum));
        let by_sql = site.json(&["sql", "select sum(messages) m, sum(filtered) f, sum(late) l from commits('a')"])?;
        ensure!(["m", "f", "l"].map(|key| number(&by_sql[0], key)) == [6, 2, 1], "{by_sql:?}");
        let list = site.ok(&["list", "commit", "a"])?;
        ensure!(list.contains("LATE  FILTERED") && list.contains("DEAD"), "{list}");
        let shown = site.ok(&["inspect", "commit", "a@master"])?;
        ensure!(shown.contains("1 (three)") && shown.contains("1 (once)"), "{shown}");

        let again = self::site("a", LINES, &format!("{FATES}{errors}"))?;
        let text = again.ok(&["run", "a.yaml", "--until", "ended"])?;
        ensure!(text.contains(said) && text.contains("a: 1 by decode, json."), "{text}");
        Ok(())
    };
    check(
        "",
        [6, 2, 1, 0, 2, 1],
        "stopped, 2 rows, 1 dead letter, 1 late row, 2 filtered rows in 1 commit from 6 messages",
    )?;
    let dropped = "stopped, 2 rows, 1 late row, 2 filtered rows, 1 dropped message in 1 commit from 6 messages";
    check("errors: {decode: drop}", [6, 2, 0, 1, 2, 1], dropped)
}

#[test]
fn a_run_whose_messages_all_failed_says_so_and_can_exit_with_1() -> Result<()> {
    let run = |args: &[&str]| -> Result<(Option<i32>, String, String)> {
        let site = site("a-b", "x\n{\"id\":\n{\"id\":\ny\n{\"id\":\n", "")?;
        let output = site.run(&[&["run", "a-b.yaml", "--until", "ended"], args].concat())?;
        ensure!(site.number("select count(*) from a_b_dead_letter", None)? == 5, "they are committed all the same");
        let (out, err) = texts(&output);
        Ok((output.status.code(), out, err))
    };
    let (code, out, err) = run(&[])?;
    ensure!(code == Some(0), "{err}");
    for part in ["warning: ", "produced no rows: all 5 messages failed", "json.", "select * from a_b_dead_letter"] {
        ensure!(err.contains(part), "{part}: {err}");
    }
    ensure!(out.contains("0 rows, 5 dead letters in 1 commit from 5 messages"), "{out}");
    for (flag, expected) in
        [("--fail-on-dead-letters", 1), ("--fail-on-dead-letters=4", 1), ("--fail-on-dead-letters=5", 0)]
    {
        let (code, _, err) = run(&[flag])?;
        ensure!(code == Some(expected) && err.contains("E0832") == (expected == 1), "{flag}: {code:?} {err}");
    }
    let (code, _, err) = run(&["--fail-on-dead-letters", "--json"])?;
    ensure!(code == Some(1) && err.lines().last().is_some_and(|line| line.contains("\"code\":\"E0832\"")), "{err}");
    Ok(())
}

#[test]
fn keys_that_no_column_is_for_are_counted_by_name_and_warned_of_once() -> Result<()> {
    let lines: String = (0..300).map(|id| format!("{{\"id\":{id},\"colour\":1,\"deep\":{{\"x\":2}}}}\n")).collect();
    let site = site("a", &lines, "")?;
    let text = std::fs::read_to_string(site.path().join("a.yaml"))?;
    site.write("a.yaml", text.replace("/t/}", "/t/, flush: {rows: 100, time: 1h}}"))?;
    let output = site.run(&["run", "a.yaml", "--until", "ended"])?;
    let (out, err) = texts(&output);
    ensure!(output.status.success() && err.matches("key=\"colour\"").count() == 1, "{out}{err}");
    let commits = site.json(&["list", "commit", "a"])?;
    let met = |commit: &Value| commit.pointer("/unknown/names/colour").and_then(Value::as_u64).unwrap_or_default();
    ensure!(commits.iter().map(met).sum::<u64>() == 300, "{commits:?}");
    ensure!(commits.iter().filter(|commit| met(commit) == 100).count() == 3, "{commits:?}");
    let shown = site.ok(&["inspect", "commit", "a@master~1"])?;
    ensure!(shown.contains("unknown keys") && shown.contains("colour (100)") && shown.contains("deep"), "{shown}");
    Ok(())
}

#[test]
fn an_error_is_said_once() -> Result<()> {
    let site = site("a", "{\"id\":1}\nx\n", "errors: {decode: fail}")?;
    let output = site.run(&["run", "a.yaml", "--until", "ended"])?;
    let (out, err) = texts(&output);
    ensure!(output.status.code() == Some(1), "{err}");
    let said = format!("{out}{err}");
    ensure!(said.matches("E0703").count() == 2, "the code stands in the error and in its hint: {said}");
    ensure!(said.matches("cannot process the message").count() == 1, "{said}");
    Ok(())
}

#[test]
fn one_of_two_that_fails_says_so_at_once() -> Result<()> {
    let site = site("a", "x\n", "errors: {decode: fail}")?;
    site.write("in/b.ndjson", "{\"id\":1}\n")?;
    site.write("b.yaml", spec("b", "").replace("follow: false", "follow: true"))?;
    let mut command = site.command(&["run", "a.yaml", "b.yaml"]);
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn()?;
    let mut lines = std::io::BufReader::new(child.stderr.take().context("standard error")?);
    let mut said = String::new();
    while !said.contains("error[E0703]") {
        ensure!(std::io::BufRead::read_line(&mut lines, &mut said)? > 0, "it ended: {said}");
    }
    ensure!(child.try_wait()?.is_none(), "the other one runs on");
    ensure!(std::process::Command::new("kill").arg(child.id().to_string()).status()?.success());
    ensure!(child.wait()?.code() == Some(1), "the exit code is that of the first failure");
    std::io::Read::read_to_string(&mut lines, &mut said)?;
    ensure!(said.matches("error[").count() == 1, "{said}");
    Ok(())
}

#[test]
fn what_plugins_measure_is_shown() -> Result<()> {
    let site = Site::new()?;
    site.write(
        "spec.yaml",
        r"
pipeline: {name: measured}
producer:
  stream: {plugin: files, topic: in, settings: {follow: false}}
  decoder: {type: json, schema: {id: int64, user: utf8}}
node:
  - {id: seen, type: plugin, plugin: count, settings: {keys: [user]}}
commit: {path: /t/}
grants:
  files: {dirs: {in: ./in}}
",
    )?;
    site.write("in/a.ndjson", "{\"id\":1,\"user\":\"a\"}\n{\"id\":2,\"user\":\"b\"}\n{\"id\":3,\"user\":\"a\"}\n")?;
    let mut run = site.start(&["run", "spec.yaml", "--until", "ended"])?;
    let update = run.wait_for("metrics")?.context("an event")?;
    ensure!(update["plugins"]["count"]["keys"] == 2.0, "{update}");
    let (fine, errors) = run.end()?;
    ensure!(fine, "{errors}");
    site.write("in/b.ndjson", "{\"id\":4,\"user\":\"c\"}\n")?;
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("measured: plugin count: keys 3"), "{said}");
    Ok(())
}

/// Whoever changes a count of a commit, with the checksum that goes with it, is found out.
#[test]
fn fsck_names_a_commit_whose_counts_were_changed() -> Result<()> {
    let site = site("a", LINES, FATES)?;
    site.ok(&["run", "a.yaml", "--until", "ended"])?;
    let commit = site.json(&["list", "commit", "a"])?.remove(0)["id"].as_str().context("an id")?.to_owned();
    let dir = std::path::Path::new(&site.store).join("repos/a/branches/master");
    let holds = |path: &std::path::PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"late\":{"));
    let records = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).find(holds);
    let record = records.context("the record of the commit")?;
    let sound = std::fs::read_to_string(&record)?;
    for (count, from, to, said) in [
        ("messages", 6, 7, "1 messages or rows are not accounted for"),
        ("rows", 2, 3, "1 messages or rows are accounted for that did not come"),
        ("dead_letters", 1, 0, "1 messages or rows are not accounted for"),
        ("dropped", 0, 4, "4 messages or rows are accounted for that did not come"),
        ("empty", 0, 2, "2 messages or rows are accounted for that did not come"),
        ("three", 1, 2, "1 messages or rows are accounted for that did not come"),
        ("once", 1, 0, "1 messages or rows are not accounted for"),
        ("made", 0, 3, "3 messages or rows are not accounted for"),
    ] {
        let (before, after) = (format!("\"{count}\":{from}"), format!("\"{count}\":{to}"));
        let (head, counts) = sound.split_once("\"counts\":{").context("counts")?;
        ensure!(counts.contains(&before), "{before} is not in {counts}");
        let changed = format!("{head}\"counts\":{{{}", counts.replacen(&before, &after, 1));
        let (body, _) = changed.rsplit_once("\"checksum\":\"").context("a checksum")?;
        let sum: String =
            Sha256::digest(format!("{body}\"checksum\":\"\"}}")).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&record, format!("{body}\"checksum\":\"{sum}\"}}"))?;
        let output = site.run(&["fsck"])?;
        let (found, _) = texts(&output);
        let named = found
            .lines()
            .any(|line| line.contains(&format!("its counts do not add up: {said}")) && line.contains(&commit));
        ensure!(output.status.code() == Some(1) && named, "{count}: {found}");
    }
    std::fs::write(&record, sound)?;
    site.ok(&["fsck"]).map(drop)
}
