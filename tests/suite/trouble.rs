//! Trouble of streams, as docs/trouble.md names it: each has a state that can be seen, a policy, and an end.

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    root,
    troubled::{Troubled, partition, stop},
};

const FLUSH: &str = "commit: {flush: {rows: 1000, time: 50ms}}";

/// Every line of a table of docs names a test that there is, and a state or key.
#[test]
fn every_trouble_of_the_docs_has_a_test() -> Result<()> {
    let text = std::fs::read_to_string(root().join("docs/trouble.md"))?;
    let mut sources = String::new();
    for dir in ["tests/suite", "tests/suite/amqp", "tests/suite/postgres", "host/producer/src/sources/stream"] {
        for entry in std::fs::read_dir(root().join(dir))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path)?;
            }
        }
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| Trouble |") && !line.contains("---"))
        .collect();
    ensure!(lines.len() >= 14, "only {} troubles", lines.len());
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        ensure!(cells.len() == 5 && cells.iter().all(|cell| !cell.is_empty()), "{line}");
        let tests: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        ensure!(!tests.is_empty(), "no test: {line}");
        for test in tests {
            ensure!(sources.contains(&format!("fn {test}(")), "there is no test {test}: {line}");
        }
    }
    Ok(())
}

#[test]
fn a_crash_in_a_later_listing_ends_nothing() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5\n")?;
    let run = place.start()?;
    place.rows(5)?;
    // The listing that would find the new partition crashes twice before it gives it.
    place.script("partition 0 0 9\npartition 1 0 3\nlist crash 2\n")?;
    place.rows(12)?;
    let crashes = std::fs::read_to_string(place.site.path().join("t/list-crash"))?;
    ensure!(crashes.lines().count() == 2, "{crashes}");
    stop(run)?;
    ensure!(
        place.site.json(&["list", "commit", "e"])?.iter().all(|commit| commit["epoch"] == 1),
        "it never started anew"
    );
    Ok(())
}

#[test]
fn a_listing_that_always_crashes_is_given_up_and_named() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5\nlist crash\n")?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["listing partitions", "as ordered"])?;
    let crashes = std::fs::read_to_string(place.site.path().join("t/list-crash"))?;
    ensure!(crashes.lines().count() == 3, "tried three times, as a fetch is: {crashes}");
    Ok(())
}

#[test]
fn a_call_that_hangs_is_ended_and_made_again() -> Result<()> {
    for call in ["fetch", "list"] {
        let place = Troubled::new("", FLUSH)?;
        let spec = std::fs::read_to_string(place.site.path().join("e.yaml"))?;
        place.site.write("e.yaml", spec.replace("call: 2s", "call: 100ms"))?;
        place.script("partition 0 0 5\n")?;
        let run = place.start()?;
        place.rows(5)?;
        place.script(&format!("partition 0 0 8\npartition 1 0 3\n{call} hang 1\n"))?;
        place.rows(11)?;
        let hung = std::fs::read_to_string(place.site.path().join(format!("t/{call}-hang")))?;
        ensure!(hung.lines().count() == 1, "{call}: {hung}");
        place.reach(|about| about["condition"] == "idle" && about["retry_at_ms"].is_null())?;
        stop(run)?;
    }
    Ok(())
}

#[test]
fn a_broker_that_is_down_is_waited_for_and_seen() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5\npartition 1 0 5\n")?;
    let run = place.start()?;
    place.rows(10)?;
    place.script("partition 0 0 9\npartition 1 0 9\nfetch down\nlist down\n")?;
    let about = place.reach(|about| about["condition"] == "failing" && about["partitions"][1]["state"] == "failing")?;
    ensure!(about["error"].as_str().is_some_and(|why| why.contains("the broker is down")), "{about}");
    ensure!(partition(&about, 0)?["retry_at_ms"].is_i64() && partition(&about, 0)?["committed"] == 5, "{about}");
    place.script("partition 0 0 9\npartition 1 0 9\n")?;
    place.rows(18)?;
    stop(run)?;
    ensure!(
        place.site.json(&["list", "commit", "e"])?.iter().all(|commit| commit["epoch"] == 1),
        "it never started anew"
    );
    Ok(())
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for_and_seen() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("list down\n")?;
    let mut run = place.start()?;
    let retrying = run.wait_for("retrying")?.context("it is tried again")?;
    ensure!(retrying["after_ms"].as_u64() > Some(0), "{retrying}");
    let about = place.reach(|about| about["condition"] == "waiting-to-restart")?;
    ensure!(
        about["retry_at_ms"].is_i64() && about["error"].as_str().is_some_and(|why| why.contains("down")),
        "{about}"
    );
    place.script("partition 0 0 5\n")?;
    // At once, whatever is left of the pause.
    place.site.ok(&["pipeline", "restart", "e"])?;
    place.rows(5)?;
    stop(run)
}

#[test]
fn a_partition_that_is_gone_is_waited_for_and_the_others_go_on() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5\npartition 1 0 5\n")?;
    let run = place.start()?;
    place.rows(10)?;
    place.script("partition 0 0 8\n")?;
    place.rows(13)?;
    let about = place.reach(|about| about["condition"] == "failing")?;
    ensure!(partition(&about, 1)?["error"].as_str().is_some_and(|why| why.contains("is not there")), "{about}");
    place.script("partition 0 0 8\npartition 1 0 6\n")?;
    place.rows(14)?;
    stop(run)
}

#[test]
fn a_shard_that_was_split_ends_and_its_children_are_read() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5\n")?;
    let run = place.start()?;
    place.rows(5)?;
    place.script("partition 0 0 6\nended 0\npartition 1 0 2\npartition 2 0 2\n")?;
    place.rows(10)?;
    let about = place.reach(|about| about["partitions"][0]["state"] == "ended")?;
    ensure!(partition(&about, 2)?["state"] == "idle", "{about}");
    stop(run)?;
    let marker = place.site.json(&["marker", "show", "e"])?.remove(0);
    ensure!(marker["marker"]["0"]["ended"] == true && marker["marker"]["0"]["offset"] == 6, "{marker}");
    // Merged: the children end, and what follows them is another one.
    place.script("partition 0 0 6\nended 0\npartition 1 0 3\nended 1\npartition 2 0 3\nended 2\npartition 3 0 4\n")?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(16)
}

#[test]
fn an_expired_offset_stops_or_goes_on_as_the_spec_says_while_it_runs() -> Result<()> {
    let expire = |policy: &str| -> Result<Troubled> {
        let place = Troubled::new(&format!(", onOutOfRange: {policy}"), FLUSH)?;
        place.script("partition 0 0 5\nslow 0\n")?;
        place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
        place.script("partition 0 20 25\n")?;
        Ok(place)
    };
    let place = expire("fail")?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["error[E0301]", "offset 5", "20..25"])?;
    let place = expire("earliest")?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(10)?;
    let commits = place.site.json(&["list", "commit", "e"])?;
    ensure!(commits.iter().any(|commit| commit.pointer("/jumped/0") == Some(&20.into())), "{commits:?}");
    let place = expire("latest")?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(5)
}

#[test]
fn a_topic_that_was_made_anew_stops_with_its_name() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5 topic-1\n")?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    // The same number, and another label: what stands there is something else.
    place.script("partition 0 0 5 topic-2\n")?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["error[E0306]", "topic-1", "topic-2"])?;
    place.rows(5)
}

#[test]
fn a_poison_message_is_a_letter_or_stops_and_is_skipped() -> Result<()> {
    let poison = "partition 0 0 6\npoison 0 3\nnull 0 4\nslow 0\n";
    let place = Troubled::new("", FLUSH)?;
    place.script(poison)?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(4)?;
    ensure!(place.site.json(&["deadletter", "show", "e"])?[0]["value"] == "nope");
    let place = Troubled::new("", "errors: {decode: fail}\ncommit: {flush: {rows: 1}}")?;
    place.script(poison)?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["error[E0703]", "offset 3"])?;
    place.rows(3)?;
    place.site.ok(&["pipeline", "skip", "e", "--partition", "0", "--offset", "3", "--why", "no JSON"])?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(4)?;
    // One that crashes the source itself.
    place.script("partition 0 0 9\ncrash 0 7\nslow 0\n")?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["over 7", "partition 0"])?;
    place.rows(5)?;
    place.site.ok(&["pipeline", "skip", "e", "--partition", "0", "--offset", "7"])?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(6)?;
    place.site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_poison_message_behind_others_that_are_not_committed_is_skipped_and_they_are_read() -> Result<()> {
    let skip = |place: &Troubled, offset: &str| -> Result<String> {
        let skip = ["pipeline", "skip", "e", "--partition", "0", "--offset", offset, "--why", "no good"];
        let sought = place.site.json(&[&skip[..], &["--spec", "e.yaml"]].concat())?.remove(0);
        Ok(sought["made"]["reason"].as_str().unwrap_or_default().to_owned())
    };
    let place = Troubled::new("", "errors: {decode: fail}\ncommit: {flush: {rows: 1000, time: 1h}}")?;
    place.script("partition 0 0 2\n")?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    // One and another that no decoder takes, behind messages that are lost again each time.
    place.script("partition 0 0 9\npoison 0 4\npoison 0 7\n")?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["error[E0703]", "offset 4"])?;
    place.rows(2)?;
    ensure!(skip(&place, "4")? == "seek: skip offsets 4 to 4 of partition 0: no good");
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["error[E0703]", "offset 7"])?;
    skip(&place, "7")?;
    let waiting = place.site.json(&["marker", "show", "e"])?.remove(0).to_string();
    ensure!(waiting.contains(r#""passing":[{"from":4,"offset":5},{"from":7,"offset":8}]"#), "{waiting}");
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(7)?;
    let done = place.site.json(&["marker", "show", "e"])?.remove(0).to_string();
    ensure!(!done.contains("passing"), "{done}");
    // One that crashes the source where it is fetched, with those before it.
    place.script("partition 0 0 20\ncrash 0 15\nslow 0\n")?;
    place.site.fails(&["run", "e.yaml", "--until", "idle"], 1, &["over 15", "partition 0"])?;
    skip(&place, "15")?;
    place.site.ok(&["run", "e.yaml", "--until", "idle"])?;
    place.rows(17)?;
    ensure!(place.site.number("select count(*) from e where n in (4, 7, 15)", None)? == 0);
    // Who goes back to it meets it.
    skip(&place, "30").err().filter(|error| error.to_string().contains("E0921")).context("there is no offset 30")?;
    place.site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn a_source_is_told_of_the_last_commit_before_a_stop() -> Result<()> {
    for (ending, script) in [("ended", "partition 0 0 5\nended 0\n"), ("idle", "partition 0 0 5\n")] {
        let place = Troubled::new("", "commit: {flush: {rows: 1000, time: 1h}}")?;
        place.script(script)?;
        place.site.ok(&["run", "e.yaml", "--until", ending])?;
        ensure!(place.told() == [(0, 5)], "{ending}: {:?}", place.told());
    }
    // Whatever the source is doing when the order comes.
    let place = Troubled::new("", "commit: {flush: {rows: 1000, time: 1h}}")?;
    place.script("partition 0 0 5\npartition 1 0 100000\nslow 1\n")?;
    let run = place.start()?;
    place.reach(|about| about["partitions"][1]["fetched"].as_u64() > Some(10))?;
    stop(run)?;
    let told = place.told();
    let committed = place.site.json(&["marker", "show", "e"])?.remove(0);
    let at = |partition: u32| committed["marker"][partition.to_string()]["offset"].as_u64().unwrap_or_default();
    ensure!(told == [(0, at(0)), (1, at(1))], "{told:?}, and {committed}");
    Ok(())
}

#[test]
fn a_handler_that_crashes_at_open_touches_no_other_pipeline() -> Result<()> {
    let place = Troubled::new("", FLUSH)?;
    place.script("partition 0 0 5\n")?;
    let broken = "
---
pipeline: {name: broken}
producer:
  stream: {plugin: troubled, topic: t}
  decoder: {type: json, schema: {p: int64, n: int64}}
node: [{id: bad, type: plugin, plugin: hostile, settings: {mode: trap, call: node-open}}]
grants: {troubled: {dirs: {t: {path: ./t, write: true}}}}
";
    let spec = std::fs::read_to_string(place.site.path().join("e.yaml"))?;
    place.site.write("both.yaml", spec + broken)?;
    let mut run = place.site.start(&["run", "both.yaml"])?;
    let retrying = run.wait_for("retrying")?.context("it is tried again")?;
    ensure!(retrying["pipeline"] == "broken" && retrying["code"] == "E0205", "{retrying}");
    let failed = run.wait_for("failed")?.context("it is given up")?;
    ensure!(failed["pipeline"] == "broken", "{failed}");
    place.rows(5)?;
    place.script("partition 0 0 8\n")?;
    place.rows(8)?;
    run.signal("TERM")?;
    let (fine, said) = run.end()?;
    ensure!(!fine && said.contains("E0205"), "{said}");
    place.site.fails(&["check", "both.yaml"], 1, &["E0205", "broken"]).map(drop)
}
