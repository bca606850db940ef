//! What a pipeline says of its parts: rows into and out of handlers, calls and memory of plugins, the queue, how long commits took.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{
    served::Served,
    troubled::{Troubled, stop},
};

const SPEC: &str = "node:
  - {id: few, type: filter, where: 'n % 2 = 0'}
  - {id: once, type: dedupe, by: [p, n], last: 1000}
commit: {flush: {rows: 1000, time: 50ms}}";

/// A place whose sockets are in a directory of its own.
fn place() -> Result<Troubled> {
    let mut place = Troubled::new("", SPEC)?;
    let dir = place.site.path().join("run").display().to_string();
    place.site.environment.push(("SPOUT_RUNTIME", dir));
    Ok(place)
}

/// So many messages were fetched, half of them are rows, everything is committed, and that is told.
fn done(about: &Value, messages: u64) -> bool {
    let at = |key: &str| {
        let each = about["partitions"].as_array().into_iter().flatten();
        each.map(|one| one[key].as_u64()).collect::<Option<Vec<u64>>>()
    };
    let counts = &about["counts"];
    about["condition"] == "idle"
        && counts["messages"] == messages
        && counts["rows"] == messages / 2
        && about["commits"] == about["commit_ms"]["count"]
        && at("committed") == at("end")
}

fn handler(about: &Value, at: usize) -> Result<(u64, u64)> {
    let one = &about["handlers"][at];
    let of = |key: &str| one[key].as_u64().with_context(|| format!("{key}: {about}"));
    Ok((of("rows_in")?, of("rows_out")?))
}

#[test]
fn the_figures_of_a_pipeline_add_up_and_start_anew_with_its_process() -> Result<()> {
    let place = place()?;
    place.script("partition 0 0 50\npartition 1 0 30\nfetch crash 1\n")?;
    let run = place.start()?;
    // Half of each partition is even.
    place.rows(40)?;
    let about = place.reach(|about| done(about, 80))?;
    ensure!(handler(&about, 0)? == (80, 40) && handler(&about, 1)? == (40, 40), "{about}");
    ensure!(about["counts"]["rows"] == 40 && about["counts"]["filtered"]["few"] == 40, "{about}");
    let named = [("filter", "few", true), ("dedupe", "once", false)];
    for (at, (handler, id, lane)) in named.into_iter().enumerate() {
        let one = &about["handlers"][at];
        ensure!(one["handler"] == handler && one["id"] == id && one["lane"] == lane, "{one}");
    }
    let used = &about["plugin_use"]["troubled"];
    let of = |key: &str| used[key].as_u64().with_context(|| format!("{key}: {used}"));
    // Two readers, of which one has crashed, or both at once.
    ensure!(of("instances")? >= 2 && (1..=2).contains(&of("traps")?), "{used}");
    ensure!(of("calls")? >= 4 && of("busy_ms")? > 0 && of("cpu_ms")? <= of("busy_ms")?, "{used}");
    ensure!(0 < of("memory")? && of("memory")? <= of("memory_limit")?, "{used}");
    let took = &about["commit_ms"];
    ensure!(took["count"] == about["commits"] && about["commits"].as_u64() > Some(0), "{about}");
    let ms = |key: &str| took[key].as_f64().with_context(|| format!("{key}: {took}"));
    ensure!(0.0 < ms("p50")? && ms("p50")? <= ms("p99")? && ms("p99")? <= ms("sum")?, "{took}");
    ensure!(about["queue"]["bytes"] == 0 && about["queue"]["capacity"].as_u64() > Some(0), "{about}");
    let said = place.site.ok(&["pipeline", "status", "e"])?;
    for part in
        ["ROWS IN", "where lanes meet", "in each lane", "PROCESSOR TIME", "troubled", "commits take", "of 48.0 MiB"]
    {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    run.signal("KILL")?;
    drop(run.end());
    place.script("partition 0 0 54\npartition 1 0 30\n")?;
    let run = place.start()?;
    place.rows(42)?;
    let about = place.reach(|about| done(about, 4))?;
    ensure!(handler(&about, 0)? == (4, 2) && handler(&about, 1)? == (2, 2), "{about}");
    ensure!(
        about["commit_ms"]["count"] == about["commits"] && about["plugin_use"]["troubled"]["traps"] == 0,
        "{about}"
    );
    stop(run)
}

#[test]
fn prometheus_and_whoever_asks_a_server_are_told_the_same_figures() -> Result<()> {
    let place = place()?;
    place.script("partition 0 0 50\npartition 1 0 30\n")?;
    place.site.ok(&["create", "pipeline", "-f", "e.yaml"])?;
    let served = Served::start(&place.site, &[])?;
    let about = served.reach("e", |about| done(about, 80))?;
    let text = String::from_utf8(served.get("/metrics")?.body)?;
    let sample = |name: &str, labels: &str| -> Result<f64> {
        let begin = format!("{name}{{pipeline=\"e\"{labels}}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&begin));
        Ok(value.with_context(|| format!("{begin}: {text}"))?.parse()?)
    };
    let few = ",handler=\"few\",kind=\"filter\"";
    ensure!(sample("spout_handler_rows_in_total", few)? == 80.0, "{text}");
    ensure!(sample("spout_handler_rows_out_total", few)? == 40.0, "{text}");
    let plugin = ",plugin=\"troubled\"";
    // Two readers, and what asks for partitions.
    ensure!(sample("spout_plugin_instances", plugin)? >= 2.0, "{text}");
    let memory = sample("spout_plugin_memory_bytes", plugin)?;
    ensure!(0.0 < memory && memory <= sample("spout_plugin_memory_limit_bytes", plugin)?, "{text}");
    ensure!(Some(sample("spout_commit_seconds_count", "")?) == about["commits"].as_f64(), "{text}");
    ensure!(sample("spout_commit_seconds", ",quantile=\"0.99\"")? > 0.0, "{text}");
    ensure!(sample("spout_queue_bytes", "")? == 0.0, "{text}");
    let listed = served.get("/v1/pipelines")?.json()?;
    ensure!(listed[0]["handlers"] == about["handlers"], "a list has them too: {listed}");
    // What starts anew counts anew.
    place.site.ok(&["pipeline", "pause", "e"])?;
    served.reach("e", |about| about["condition"] == "paused")?;
    place.script("partition 0 0 52\npartition 1 0 30\n")?;
    place.site.ok(&["pipeline", "resume", "e"])?;
    let about = served.reach("e", |about| done(about, 2))?;
    ensure!(handler(&about, 0)? == (2, 1) && about["commit_ms"]["count"] == about["commits"], "{about}");
    served.stop()
}
