//! Operations on a pipeline that `spout run` runs: seen, paused, moved, resumed, restarted, over a socket of its user's own.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{
    Site,
    served::Served,
    troubled::{Troubled, partition, stop},
};

/// What was done to the pipelines of a store, oldest first.
fn history(site: &Site) -> Result<Vec<String>> {
    let commits = site.json(&["list", "commit", "_specs"])?;
    Ok(commits.iter().rev().filter_map(|commit| commit["reason"].as_str().map(str::to_owned)).collect())
}

fn condition(about: &Value, expected: &str) -> bool {
    about["condition"] == expected
}

/// A place whose sockets are in a directory of its own.
fn place() -> Result<Troubled> {
    let mut place = Troubled::new("", "commit: {flush: {rows: 1000, time: 50ms}}")?;
    let dir = place.site.path().join("run").display().to_string();
    place.site.environment.push(("SPOUT_RUNTIME", dir));
    Ok(place)
}

#[test]
fn a_run_is_seen_paused_moved_and_resumed_without_a_server() -> Result<()> {
    let place = place()?;
    place.script("partition 0 0 5 first\npartition 1 0 3\ndown 1\n")?;
    let run = place.start()?;
    let about = place.reach(|about| condition(about, "failing") && about["lag"] == Value::Null)?;
    ensure!(about["code"] == "E0201" && about["retry_at_ms"].as_i64() > about["since_ms"].as_i64(), "{about}");
    let failing = partition(&about, 1)?;
    ensure!(
        failing["state"] == "failing" && failing["error"].as_str().is_some_and(|why| why.contains("is down")),
        "{about}"
    );
    place.script("partition 0 0 5 first\npartition 1 0 3\n")?;
    place.rows(8)?;
    let about = place.reach(|now| condition(now, "idle") && now["partitions"][0]["committed"] == 5)?;
    let first = partition(&about, 0)?;
    ensure!(
        (&first["label"], &first["fetched"], &first["end"], &first["lag"])
            == (&"first".into(), &5.into(), &5.into(), &0.into()),
        "{about}"
    );
    ensure!(
        first["newest_ms"] == 1_767_225_604_000_i64 && first["time_lag_ms"] == 0 && about["readers"] == 2,
        "{about}"
    );
    let socket = fs::read_dir(place.site.path().join("run"))?.next().context("a socket")??;
    ensure!(socket.metadata()?.permissions().mode() & 0o777 == 0o600, "{socket:?}");
    // A commit may have been on its way when the partition failed: it is in the repo, and nobody has counted it.
    let said = place.site.ok(&["pipeline", "status", "e"])?;
    ensure!(said.contains("idle") && said.contains("first") && said.contains(" messages made "), "{said}");
    ensure!(place.site.json(&["list", "pipeline"])?[0]["condition"] == "idle");
    // Who runs is not moved.
    place.site.fails(&["pipeline", "skip", "e", "--partition", "1"], 1, &["error[E0870]"])?;
    ensure!(place.site.ok(&["pipeline", "pause", "e"])?.contains("stopped in commit"));
    ensure!(place.site.ok(&["pipeline", "pause", "e"])?.contains("stopped already"));
    place.reach(|about| condition(about, "paused") && about["partitions"][0]["reader"] == Value::Null)?;
    place.script("partition 0 0 9 first\npartition 1 0 4\n")?;
    let far = ["pipeline", "skip", "e", "--partition", "0", "--offset", "8"];
    let sought = place.site.json(&far)?.remove(0);
    ensure!(sought["made"]["reason"] == "seek: skip offsets 8 to 8 of partition 0", "{sought}");
    place.site.fails(&["pipeline", "skip", "e", "--partition", "0", "--offset", "2"], 2, &["goes on at 5"])?;
    place.site.fails(&["pipeline", "skip", "e", "--partition", "9"], 2, &["no partition"])?;
    let skip = ["pipeline", "skip", "e", "--partition", "first", "--offset", "5", "--count", "2", "--why", "bad ones"];
    let sought = place.site.json(&skip)?.remove(0);
    ensure!(sought["made"]["reason"] == "seek: skip offsets 5 to 6 of partition first: bad ones", "{sought}");
    place.site.json(&["pipeline", "seek", "e", "--to", "2", "--partition", "1"])?;
    ensure!(place.site.ok(&["pipeline", "resume", "e"])?.contains("started in commit"));
    // 7 of the first; 2 once more, and 3.
    place.rows(11)?;
    ensure!(place.site.number("select count(*) from e where p = 0 and n in (5, 6, 8)", None)? == 0);
    place.site.ok(&["pipeline", "restart", "e"])?;
    place.script("partition 0 0 10 first\npartition 1 0 4\n")?;
    place.rows(12)?;
    place.site.ok(&["pipeline", "flush", "e"])?;
    ensure!(place.site.ok(&["logs", "pipeline", "e"])?.contains("paused"));
    stop(run)?;
    ensure!(history(&place.site)? == ["stop pipeline e", "start pipeline e", "restart pipeline e"]);
    ensure!(fs::read_dir(place.site.path().join("run"))?.next().is_none(), "the socket is gone");
    let about = place.reach(|about| condition(about, "not-running"))?;
    ensure!(partition(&about, 0)?["committed"] == 10 && partition(&about, 0)?["lag"] == Value::Null, "{about}");
    place.site.fails(&["pipeline", "status", "nobody"], 2, &["error[E0952]"])?;
    place.site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn a_pipeline_that_is_behind_says_how_far_in_messages_and_in_time() -> Result<()> {
    let place = place()?;
    place.script("partition 0 0 100000\nslow 0\n")?;
    let run = place.start()?;
    let about = place.reach(|about| condition(about, "catching-up"))?;
    ensure!(about["lag"].as_u64().is_some_and(|lag| lag > 1000), "{about}");
    // Its messages are made in January 2026, a second apart.
    ensure!(about["time_lag_ms"].as_u64().is_some_and(|behind| behind > 10_000), "{about}");
    stop(run)
}

#[test]
fn a_socket_of_somebody_else_is_not_used() -> Result<()> {
    let place = place()?;
    place.script("partition 0 0 5\nended 0\n")?;
    fs::create_dir(place.site.path().join("run"))?;
    fs::set_permissions(place.site.path().join("run"), fs::Permissions::from_mode(0o755))?;
    let run = place.site.run(&["run", "e.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(run.status.success(), "it runs all the same: {said}");
    ensure!(said.contains("E0920") && said.contains("chmod 700"), "{said}");
    place.rows(5)
}

#[test]
fn a_server_is_steered_without_its_port_and_shows_partitions() -> Result<()> {
    let place = place()?;
    place.script("partition 0 0 5\npartition 1 0 3\n")?;
    place.site.ok(&["create", "pipeline", "-f", "e.yaml"])?;
    let served = Served::start(&place.site, &[])?;
    let about = served.reach("e", |about| condition(about, "idle"))?;
    ensure!(partition(&about, 0)?["lag"] == 0, "{about}");
    place.rows(8)?;
    ensure!(served.get("/v1/pipelines")?.json()?[0]["partitions"] == Value::Null, "a list has no partitions");
    let text = String::from_utf8(served.get("/metrics")?.body)?;
    for line in ["spout_partition_lag_messages{pipeline=\"e\",partition=\"1\"} 0", "spout_partitions{pipeline=\"e\"} 2"]
    {
        ensure!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    place.site.ok(&["pipeline", "flush", "e"])?;
    place.site.ok(&["pipeline", "pause", "e"])?;
    served.reach("e", |about| condition(about, "paused"))?;
    let url = served.url();
    let skip = ["pipeline", "skip", "e", "--partition", "1", "--server", &url];
    place.site.fails(&skip, 2, &["error[E0921]", "the source goes on at 3"])?;
    place.script("partition 0 0 5\npartition 1 0 5\n")?;
    let sought = place.site.json(&skip)?.remove(0);
    ensure!(sought["after"]["1"]["offset"] == 4, "{sought}");
    served.stop()
}
