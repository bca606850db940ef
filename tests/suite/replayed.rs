//! Dead letters that are read once more: listed, shown, and replayed through a spec that takes them, each once.

use std::{fs, process::Stdio};

use anyhow::{Result, ensure};
use spout_tests::{Site, posted::ids};

const SPEC: &str = "pipeline: {name: in}\nproducer:\n  stdin: {}\n  decoder: {type: json, schema: {id: TYPE}}\ncommit: {flush: {rows: 1000}}\n";

/// Runs the pipeline over `lines`.
fn feed(site: &Site, lines: &str) -> Result<()> {
    let input = fs::File::open(site.write("lines", lines)?)?;
    let output = site.command(&["run", "in.yaml"]).stdin(Stdio::from(input)).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn letters_are_listed_shown_and_replayed_once() -> Result<()> {
    let site = Site::new()?;
    site.write("in.yaml", SPEC.replace("TYPE", "int64"))?;
    site.write("mended.yaml", SPEC.replace("TYPE", "string"))?;
    feed(&site, "{\"id\":1}\n{\"id\":\"x\"}\nnope\n{\"id\":\"x\"}\n")?;
    let listed = site.json(&["deadletter", "list", "in"])?;
    let of =
        |code: &str| listed.iter().find(|line| line["code"] == code).map(|line| (&line["letters"], &line["holds"]));
    ensure!(of("json.type").is_some_and(|(letters, holds)| *letters == 2 && holds == "message"), "{listed:?}");
    let shown = site.json(&["deadletter", "show", "in", "--code", "json.syntax"])?;
    ensure!(shown.len() == 1 && shown[0]["value"] == "nope" && shown[0]["offset"] == 2, "{shown:?}");
    site.ok(&["deadletter", "replay", "mended.yaml"])?;
    let count = |repo: &str| -> Result<u64> {
        let rows = site.json(&["sql", &format!("select id, count(*) as n from {repo} group by id")])?;
        ensure!(rows.len() == 1 && rows[0]["id"] == "x", "{rows:?}");
        Ok(rows[0]["n"].as_u64().unwrap_or_default())
    };
    ensure!(count("in_replayed")? == 2, "what the mended spec takes");
    site.ok(&["deadletter", "replay", "mended.yaml"])?;
    ensure!(count("in_replayed")? == 2, "each once");
    feed(&site, "{\"id\":\"x\"}\n")?;
    site.ok(&["deadletter", "replay", "mended.yaml"])?;
    ensure!(count("in_replayed")? == 3, "and what was set aside since");
    let made = &site.json(&["list", "commit", "in-replayed", "-n", "1"])?[0];
    let head = &site.json(&["list", "commit", "in", "-n", "1"])?[0];
    ensure!(made["provenance"][0]["commit"] == head["id"], "{} {}", made["provenance"], head["id"]);
    // What fails again is set aside there, and is replayed from there.
    ensure!(site.json(&["deadletter", "list", "in-replayed"])?[0]["letters"] == 1);
    site.ok(&["create", "repo", "empty"])?;
    ensure!(site.ok(&["deadletter", "list", "in-replayed@master~1"])?.contains("json.syntax"));
    site.fails(&["deadletter", "list", "nowhere"], 2, &["error[E0550]"])?;
    site.fails(&["deadletter", "replay", "in.yaml", "--to", "in"], 2, &["error[E0110]", "a repo of its own"])?;
    site.fails(&["deadletter", "replay", "in.yaml", "--to", "a b"], 2, &["the name of a pipeline"])?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_killed_replay_loses_none_and_makes_none_twice() -> Result<()> {
    const LETTERS: u64 = 20_000;
    let site = Site::new()?;
    site.write("in.yaml", SPEC.replace("TYPE", "int64"))?;
    site.write(
        "mended.yaml",
        SPEC.replace("TYPE", "int64").replace("schema:", "coerce: {numbersFromStrings: true}, schema:"),
    )?;
    let lines: String = (0..LETTERS).map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect();
    feed(&site, &lines)?;
    for commits in [1, 5, 9] {
        let mut replay = site
            .command(&["deadletter", "replay", "mended.yaml"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let made = || site.json(&["list", "commit", "in-replayed"]).map_or(0, |commits| commits.len());
        while made() < commits && replay.try_wait()?.is_none() {}
        replay.kill()?;
        replay.wait()?;
    }
    site.ok(&["deadletter", "replay", "mended.yaml"])?;
    ensure!(ids(&site, "in_replayed")? == (0..LETTERS).collect::<Vec<_>>(), "each once");
    site.ok(&["fsck"]).map(drop)
}

/// The offsets that rows of the pipeline's own table come from, each with how many there are.
fn offsets(site: &Site) -> Result<Vec<String>> {
    let mut rows = site.rows("select __offset o, count(*) n from \"in\" group by __offset", None)?;
    rows.sort_unstable();
    Ok(rows)
}

const OWN: &str = "pipeline: {name: in}\nproducer:\n  stdin: {metadata: [offset, partition]}\n  decoder: {type: json, schema: {id: TYPE}}\ncommit: {flush: {rows: 1000}}\n";

#[test]
fn letters_come_into_their_own_table_each_once_with_where_they_were() -> Result<()> {
    let site = Site::new()?;
    site.write("in.yaml", OWN.replace("TYPE", "int64"))?;
    site.write(
        "mended.yaml",
        OWN.replace("schema:", "coerce: {numbersFromStrings: true}, schema:").replace("TYPE", "int64"),
    )?;
    feed(&site, "{\"id\":1}\n{\"id\":\"22\"}\nnope\n{\"id\":4}\n{\"id\":\"55\"}\n")?;
    ensure!(offsets(&site)?.len() == 2);
    let before = site.json(&["marker", "show", "in"])?.remove(0);
    site.ok(&["deadletter", "replay", "mended.yaml", "--into-source"])?;
    let all = ["{\"o\":0,\"n\":1}", "{\"o\":1,\"n\":1}", "{\"o\":3,\"n\":1}", "{\"o\":4,\"n\":1}"];
    ensure!(offsets(&site)? == all, "{:?}", offsets(&site)?);
    ensure!(site.number("select sum(id) from \"in\" where __partition = 0", None)? == 82);
    let after = site.json(&["marker", "show", "in"])?.remove(0);
    ensure!(before["marker"]["0"] == after["marker"]["0"], "the source goes on where it was: {after}");
    let made = site.json(&["list", "commit", "in", "-n", "1"])?.remove(0);
    ensure!(made["provenance"][0]["repo"] == "in" && made["provenance"][0]["commit"] == before["commit"], "{made}");
    ensure!(made["messages"] == 3 && made["rows"] == 2 && made["dead_letters"] == 1, "{made}");
    // Again there is only what failed again, with the place that it had.
    site.ok(&["deadletter", "replay", "mended.yaml", "--into-source"])?;
    ensure!(offsets(&site)? == all, "each once");
    let shown = site.json(&["deadletter", "show", "in", "--code", "json.syntax"])?;
    ensure!(
        shown.len() == 3 && shown.iter().all(|letter| letter["offset"] == 2 && letter["partition"] == 0),
        "{shown:?}"
    );
    // The pipeline goes on, and its letters are replayed from there.
    feed(&site, "{\"id\":\"7\"}\n{\"id\":8}\n")?;
    site.ok(&["deadletter", "replay", "mended.yaml", "--into-source"])?;
    ensure!(site.number("select sum(id) from \"in\"", None)? == 97, "{:?}", offsets(&site)?);
    site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn what_would_double_or_come_out_of_order_is_not_replayed_into_its_own_table() -> Result<()> {
    let site = Site::new()?;
    // Rows of a handler that fail: of their messages, others may have gone through.
    let node = "node:\n- {id: twice, type: map, columns: {id: id, half: '100 / id'}}\n";
    site.write("in.yaml", OWN.replace("TYPE", "int64") + node)?;
    feed(&site, "{\"id\":1}\n{\"id\":0}\nnope\n")?;
    let rows = site.number("select count(*) from \"in\"", None)?;
    let letters = site.json(&["deadletter", "list", "in"])?;
    let of_handler = letters.iter().any(|line| line["stage"] == "twice");
    let said = site.ok(&["deadletter", "replay", "in.yaml", "--into-source"])?;
    ensure!(said.contains("left out") == of_handler, "{said} {letters:?}");
    ensure!(site.number("select count(*) from \"in\"", None)? == rows);
    site.write(
        "state.yaml",
        OWN.replace("TYPE", "int64") + "node:\n- {id: once, type: dedupe, by: [id], within: 1m}\n",
    )?;
    site.fails(
        &["deadletter", "replay", "state.yaml", "--into-source"],
        2,
        &["error[E0117]", "`once`", "--into-source"],
    )?;
    let both = ["deadletter", "replay", "in.yaml", "--into-source", "--to", "x"];
    site.fails(&both, 2, &["--to"]).map(drop)
}

#[test]
fn a_replay_into_its_own_table_that_is_killed_makes_none_twice() -> Result<()> {
    const LETTERS: u64 = 20_000;
    let site = Site::new()?;
    site.write("in.yaml", SPEC.replace("TYPE", "int64"))?;
    site.write(
        "mended.yaml",
        SPEC.replace("TYPE", "int64").replace("schema:", "coerce: {numbersFromStrings: true}, schema:"),
    )?;
    let lines: String = (0..LETTERS).map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect();
    feed(&site, &lines)?;
    let commits = || site.json(&["list", "commit", "in"]).map_or(0, |commits| commits.len());
    let before = commits();
    for more in [1, 5, 9] {
        let mut replay = site
            .command(&["deadletter", "replay", "mended.yaml", "--into-source"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        while commits() < before + more && replay.try_wait()?.is_none() {}
        replay.kill()?;
        replay.wait()?;
    }
    site.ok(&["deadletter", "replay", "mended.yaml", "--into-source"])?;
    ensure!(ids(&site, "\"in\"")? == (0..LETTERS).collect::<Vec<_>>(), "each once");
    site.ok(&["fsck"]).map(drop)
}
