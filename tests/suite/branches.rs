//! Branches, tags and history as a user types them, and what a running pipeline makes of it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

/// A repo `r` whose file `/n` holds 1, 2, … `commits`, one a commit.
fn counted(commits: usize) -> Result<Site> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r"])?;
    for number in 1..=commits {
        site.write("n", number.to_string())?;
        site.ok(&["put", "file", "r@master:/n", "-f", "n"])?;
    }
    Ok(site)
}

fn number(site: &Site, reference: &str) -> Result<String> {
    site.ok(&["get", "file", &format!("{reference}:/n")])
}

/// Ids of the commits that lead to a reference, newest first.
fn ids(site: &Site, reference: &str) -> Result<Vec<String>> {
    let commits = site.json(&["list", "commit", reference])?;
    commits.iter().map(|commit| text(commit, "/id").map(str::to_owned)).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("{pointer} of {value}"))
}

fn objects(below: &Path) -> Result<usize> {
    let mut objects = 0;
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        objects += if path.is_dir() { objects_or_none(&path) } else { 1 };
    }
    Ok(objects)
}

fn objects_or_none(below: &Path) -> usize {
    objects(below).unwrap_or_default()
}

#[test]
fn branches_and_tags_are_made_moved_and_deleted() -> Result<()> {
    let site = counted(4)?;
    site.ok(&["create", "branch", "r@dev", "--head", "master~2"])?;
    ensure!(number(&site, "r@dev")? == "2", "a branch at an earlier commit");
    site.fails(&["create", "branch", "r@dev", "--head", "master"], 2, &["error[E0544]", "--move"])?;
    site.write("m", "x")?;
    site.ok(&["put", "file", "r@dev:/m", "-f", "m"])?;
    ensure!(ids(&site, "r@dev")?.len() == 3 && ids(&site, "r@dev~1")? == ids(&site, "r@master~2")?, "one history");
    ensure!(site.fails(&["get", "file", "r@master:/m"], 2, &["error[E0517]"]).is_ok(), "branches are apart");
    site.ok(&["create", "branch", "r@dev", "--head", "~1", "--move"])?;
    ensure!(number(&site, "r@dev")? == "3", "moved");

    site.ok(&["create", "tag", "r@v1", "--head", "dev~1"])?;
    ensure!(number(&site, "r@v1")? == "2" && number(&site, "r@v1~1")? == "1", "a tag is a reference");
    site.fails(&["create", "tag", "r@v1"], 2, &["error[E0545]"])?;
    site.fails(&["create", "tag", "r@dev"], 2, &["error[E0545]", "branch"])?;
    site.fails(&["create", "branch", "r@v1"], 2, &["error[E0545]", "tag"])?;
    site.ok(&["create", "tag", "r@v1", "--move"])?;
    ensure!(number(&site, "r@v1")? == "4", "a tag is at master where nothing else is said");
    let tags = site.json(&["list", "tag", "r"])?;
    ensure!(tags.len() == 1 && text(&tags[0], "/name")? == "v1", "{tags:?}");
    let head = site.json(&["list", "commit", "r", "-n", "1"])?.remove(0);
    ensure!(text(&head, "/tags/0")? == "v1", "tags stand beside commits: {head}");
    ensure!(site.ok(&["list", "commit", "r@v1", "-n", "1"])?.contains("v1"), "and for people");

    site.ok(&["delete", "branch", "r@dev"])?;
    site.fails(&["get", "file", "r@dev:/n"], 2, &["error[E0511]"])?;
    site.fails(&["delete", "branch", "r@dev"], 2, &["error[E0511]"])?;
    site.ok(&["delete", "tag", "r@v1"])?;
    site.fails(&["delete", "tag", "r@v1"], 2, &["error[E0546]"])?;
    site.fails(&["create", "branch", "master"], 2, &["error[E0801]", "repo@branch"])?;
    site.ok(&["create", "branch", "r@empty"])?;
    ensure!(site.ok(&["list", "commit", "r@empty"])?.contains("no commits yet"), "an empty branch is no error");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn commits_are_named_in_many_ways() -> Result<()> {
    let site = counted(3)?;
    let ids = ids(&site, "r")?;
    let check = |reference: &str, expected: &str| -> Result<()> {
        let found = number(&site, reference)?;
        ensure!(found == expected, "{reference}: {found}, not {expected}");
        Ok(())
    };
    check("r", "3")?;
    check("r@master^", "2")?;
    check("r@master~2", "1")?;
    check(&format!("r@{}", ids[1]), "2")?;
    check(&format!("r@{}~1", &ids[1][..8]), "1")?;
    check("r@master{2999-01-01T00:00:00Z}", "3")?;
    check("r{2999-01-01}~1", "2")?;
    let middle = site.json(&["inspect", "commit", "r~1"])?.remove(0);
    let at = middle.pointer("/at_ms").and_then(Value::as_i64).context("a time")?;
    let at = format!("{}.{:03}", at / 1000, at % 1000);
    ensure!(!at.is_empty(), "a moment");
    site.fails(&["get", "file", "r{2000-01-01}:/n"], 2, &["error[E0512]"])?;
    site.fails(&["get", "file", "r~3:/n"], 2, &["error[E0512]"])?;
    site.fails(&["get", "file", "r@mister:/n"], 2, &["error[E0511]", "did you mean `master`"])?;
    site.ok(&["create", "branch", "r@gone", "--head", "r@master"])?;
    site.ok(&["delete", "branch", "r@gone"])?;
    let said = site.fails(&["get", "file", "r@gone:/n"], 2, &["error[E0511]"])?;
    ensure!(!said.contains("did you mean `gone`"), "{said}");
    site.fails(&["list", "commit", "r@master:/n"], 2, &["error[E0801]", "names a file"])?;
    site.fails(&["get", "file", "r{yesterday}:/n"], 2, &["error[E0514]"])?;
    let history = site.ok(&["list", "commit", &format!("r@{}", ids[1]), "-n", "1"])?;
    ensure!(history.contains("1 earlier"), "{history}");
    Ok(())
}

#[test]
fn history_is_squashed_reverted_and_taken_back() -> Result<()> {
    let site = counted(6)?;
    let before = ids(&site, "r")?;
    site.ok(&["squash", "commit", "r@master~4..master~2"])?;
    let after = ids(&site, "r")?;
    ensure!(after == [&before[..2], &before[5..]].concat(), "commits 2, 3 and 4 are gone: {after:?}");
    ensure!(number(&site, "r~2")? == "1" && number(&site, "r~1")? == "5", "files are what they were");
    site.fails(&["get", "file", &format!("r@{}:/n", before[3])], 2, &["error[E0526]", "squashed"])?;
    site.fails(&["squash", "commit", "r@master"], 2, &["error[E0548]", "head"])?;
    site.ok(&["squash", "commit", "r@master~1"])?;
    ensure!(ids(&site, "r")?.len() == 2, "a single one");

    site.ok(&["revert", "branch", "r@master", "--to", "~1"])?;
    ensure!(number(&site, "r")? == "1" && number(&site, "r~1")? == "6", "history keeps what was in between");
    let commit = site.json(&["inspect", "commit", "r"])?.remove(0);
    ensure!(text(&commit, "/base")? == before[5], "it says where its files came from: {commit}");
    let said = site.ok(&["drop", "commit", "r@master"])?;
    ensure!(said.contains("undid") && number(&site, "r")? == "6", "{said}");
    site.fails(&["drop", "commit", "r@master~1"], 2, &["error[E0801]", "spout squash commit"])?;
    site.ok(&["create", "branch", "r@one", "--head", &before[5]])?;
    site.fails(&["drop", "commit", "r@one"], 2, &["error[E0801]", "spout delete branch"])?;
    site.fails(&["revert", "branch", "r@master", "--to", "other@master"], 2, &["error[E0801]"])?;
    site.fails(&["revert", "branch", "r@mster", "--to", "~1"], 2, &["error[E0511]"])?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_repo_is_guarded_and_goes_whole() -> Result<()> {
    let site = counted(2)?;
    site.fails(&["delete", "repo", "r"], 2, &["error[E0547]", "2 commits", "--force"])?;
    ensure!(number(&site, "r")? == "2", "nothing went");
    site.ok(&["delete", "repo", "r", "--force"])?;
    site.fails(&["list", "branch", "r"], 2, &["error[E0510]"])?;
    ensure!(site.json(&["list", "repo"])?.is_empty(), "it is not listed");
    site.ok(&["create", "repo", "r"])?;
    ensure!(site.json(&["list", "branch", "r"])?.is_empty(), "a new one of the name is empty");
    site.ok(&["delete", "repo", "r"])?;
    site.fails(&["delete", "repo", "r"], 2, &["error[E0510]"]).map(drop)
}

#[test]
fn a_collection_removes_what_nothing_needs() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r"])?;
    for number in 0..6 {
        site.write("n", format!("{number}").repeat(100_000))?;
        site.ok(&["put", "file", "r@master:/n", "-f", "n"])?;
        site.ok(&["put", "file", &format!("r@master:/kept/{number}"), "-f", "n"])?;
    }
    site.ok(&["create", "tag", "r@old", "--head", "master~8"])?;
    site.fails(&["update", "repo", "r"], 2, &["--keep"])?;
    site.fails(&["update", "repo", "r", "--keep", "0"], 2, &["error[E0570]"])?;
    site.fails(&["update", "repo", "r", "--keep", "1", "--keep-all"], 2, &["cannot be used with"])?;
    let now = ["gc", "r", "--min-age", "0s"];
    let first = site.json(&now)?.remove(0);
    ensure!(first.get("records") == Some(&0.into()), "every commit is kept where nothing else is said: {first}");
    let said = site.ok(&["update", "repo", "r", "--keep", "2"])?;
    ensure!(said.contains("newest 2 commits"), "{said}");
    ensure!(site.ok(&["inspect", "repo", "r"])?.contains("newest 2 commits"), "the rule is shown");

    let data = site.path().join("store/repos/r");
    let (before, tree) = (objects(&data)?, site.json(&["list", "file", "-r", "r"])?);
    site.ok(&["gc", "r"])?;
    ensure!(site.json(&["list", "commit", "r"])?.len() < 12, "history ends where the rule says");
    let planned = site.json(&[&now[..], &["--dry-run"]].concat())?.remove(0);
    let there = objects(&data)?;
    let done = site.json(&now)?.remove(0);
    ensure!(planned.get("objects") == done.get("objects"), "a dry run says what comes: {planned} {done}");
    ensure!(objects(&data)? < there && there <= before + 8, "nothing went");
    ensure!(site.json(&["list", "file", "-r", "r"])? == tree, "the head has other files");
    for line in &tree {
        let bytes = site.ok(&["get", "file", &format!("r:{}", text(line, "/path")?)])?;
        ensure!(bytes.len() == 100_000, "{line}");
    }
    ensure!(site.ok(&["get", "file", "r@old:/n"])?.starts_with('1'), "a tag keeps its commit");
    site.fails(&["get", "file", "r~9:/n"], 2, &["error["])?;
    site.ok(&["put", "file", "r@master:/n", "-f", "n"])?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn small_tables_are_compacted() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r"])?;
    for number in 0..6 {
        site.write("t.csv", format!("id\n{number}\n"))?;
        site.ok(&["put", "file", &format!("r@master:/t/{number}.parquet"), "--table", "-f", "t.csv"])?;
    }
    let said = site.ok(&["compact", "r", "--target", "1MiB"])?;
    ensure!(said.contains("6 pieces became 1 file, 6 rows"), "{said}");
    ensure!(site.number("select sum(id) from r", None)? == 15, "rows are what they were");
    ensure!(site.number("select sum(id) from r", Some("r~1"))? == 15, "also before");
    let commit = site.ok(&["inspect", "commit", "r"])?;
    ensure!(commit.contains("compaction"), "{commit}");
    ensure!(site.ok(&["compact", "r@master"])?.contains("nothing to compact"), "once is enough");
    site.fails(&["compact", "r@nope"], 2, &["error[E0511]"]).map(drop)
}

#[test]
fn what_is_made_from_records_is_repaired() -> Result<()> {
    let site = counted(3)?;
    let about = site.path().join("store/repos/r/repo.json");
    fs::write(&about, "{")?;
    site.fails(&["fsck"], 1, &["error[E0809]"])?;
    let said = site.ok(&["fsck", "--repair"])?;
    ensure!(said.contains("rewritten") && said.contains("all intact after 1 repair"), "{said}");
    ensure!(site.ok(&["fsck"])?.contains("all intact") && number(&site, "r")? == "3", "it is repaired");
    let record = site.path().join("store/repos/r/branches/master/00000000000000000002.json");
    fs::write(&record, "{}")?;
    site.fails(&["fsck", "--repair", "r"], 1, &["error[E0809]"])?;
    ensure!(fs::read(&record)? == b"{}", "what cannot be made anew is left as evidence");
    Ok(())
}

/// Bids of one partition, a commit every thousand rows.
fn nexmark(settings: &str) -> String {
    format!(
        "pipeline: {{name: bids}}
producer:
  stream: {{plugin: nexmark, topic: bids, settings: {{{settings}}}, metadata: [partition, offset]}}
  decoder: {{type: json, schema: {{event: utf8, bid: {{price: int64}}}}}}
node:
  - {{id: price, type: map, columns: {{price: \"bid['price']\"}}, select: [__partition, __offset, price]}}
commit: {{path: /bids/, flush: {{rows: 1000, time: 100ms}}}}
"
    )
}

#[test]
fn a_reverted_pipeline_commits_the_same_rows_again() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", nexmark("total: 4000, partitions: 1, rate: 4000"))?;
    let run = || site.ok(&["run", "spec.yaml", "--until", "ended"]);
    let rows = || site.rows("select __offset, price from bids order by __offset", None);
    run()?;
    let (whole, commits) = (rows()?, ids(&site, "bids")?.len());
    ensure!(whole.len() == 4000 && commits > 2, "{} rows in {commits} commits", whole.len());
    let back = (commits / 2).to_string();
    site.ok(&["revert", "branch", "bids@master", "--to", &format!("~{back}")])?;
    ensure!(rows()?.len() < 4000, "rows went back");
    run()?;
    ensure!(rows()? == whole, "the same messages gave other rows");
    site.ok(&["drop", "commit", "bids@master"])?;
    run()?;
    ensure!(rows()? == whole, "the same after a drop");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_running_pipeline_takes_others_commits_in() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", nexmark("partitions: 1, rate: 2000"))?;
    site.write("note", "by hand")?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("committed")?.context("a commit")?;
    site.ok(&["put", "file", "bids@master:/notes/1", "-f", "note"])?;
    running.wait_for("committed")?.context("it goes on")?;
    let id = site.ok(&["start", "commit", "bids@master"])?.trim().to_owned();
    site.ok(&["put", "file", &format!("bids@{id}:/notes/2"), "-f", "note"])?;
    running.wait_for("committed")?.context("it goes on beside a started commit")?;
    site.ok(&["finish", "commit", &format!("bids@{id}")])?;
    running.wait_for("committed")?.context("it goes on after it was finished")?;
    running.wait_for("committed")?.context("and on")?;
    running.signal("TERM")?;
    running.wait_for("stopped")?.context("it stops")?;
    let (success, error) = running.end()?;
    ensure!(success, "{error}");
    for note in ["1", "2"] {
        let found = site.ok(&["get", "file", &format!("bids@master:/notes/{note}")])?;
        ensure!(found == "by hand", "the note {note} is lost: {found}");
    }
    let sql = "select count(*) - count(distinct __offset) + count(*) - 1 - max(__offset) from bids";
    ensure!(site.number(sql, None)? == 0, "rows are lost or doubled");
    site.ok(&["fsck"]).map(drop)
}
