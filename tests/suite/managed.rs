//! Pipelines that a store has by name: made, changed, stopped and removed while a server runs them, through kills and bad plugins.

use std::fs;

use anyhow::{Result, ensure};
use spout_tests::{
    Site, guests,
    posted::{http, ids, post, running},
    root,
    served::Served,
};

#[test]
fn what_was_created_runs_until_it_is_deleted_whatever_is_killed() -> Result<()> {
    let site = Site::new()?;
    site.write("one.yaml", http("one", ""))?;
    site.ok(&["create", "pipeline", "-f", "one.yaml"])?;
    site.fails(&["create", "pipeline", "-f", "one.yaml"], 2, &["E0951"])?;
    let mut served = Served::start(&site, &[])?;
    ensure!(post(&served, "one", 1)? == 200);
    served.running.signal("KILL")?;
    served.running.child.wait()?;
    served = Served::start(&site, &[])?;
    ensure!(post(&served, "one", 2)? == 200, "it runs again after a kill");
    let before = served.reach("one", running)?["since_ms"].clone();
    site.write("one.yaml", http("one", "node: [{id: large, type: filter, where: id > 10}]\n"))?;
    site.write("two.yaml", http("two", ""))?;
    site.fails(&["update", "pipeline", "-f", "two.yaml"], 2, &["E0952"])?;
    site.ok(&["update", "pipeline", "-f", "one.yaml"])?;
    served.reach("one", |about| running(about) && about["since_ms"] != before)?;
    for id in [3, 12] {
        ensure!(post(&served, "one", id)? == 200);
    }
    site.ok(&["create", "pipeline", "-f", "two.yaml"])?;
    ensure!(post(&served, "two", 1)? == 200, "a server that runs takes up what is new");
    site.ok(&["stop", "pipeline", "one"])?;
    served.reach("one", |about| about["state"] == "stopped")?;
    served.stop()?;
    let served = Served::start(&site, &[])?;
    served.reach("two", running)?;
    ensure!(served.reach("one", |_| true)?["state"] == "stopped", "it was stopped before the restart");
    site.ok(&["start", "pipeline", "one"])?;
    ensure!(post(&served, "one", 13)? == 200);
    site.ok(&["delete", "pipeline", "two"])?;
    served.reach("two", |about| about["code"] == "E0910")?;
    served.stop()?;
    ensure!(ids(&site, "one")? == [1, 2, 12, 13], "{:?}", ids(&site, "one")?);
    let listed = site.json(&["list", "pipeline"])?;
    ensure!(listed.len() == 1 && listed[0]["name"] == "one" && listed[0]["wanted"] == "running", "{listed:?}");
    let history = site.json(&["list", "commit", "_specs"])?;
    ensure!(history.len() == 6, "each change is a commit: {history:?}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_replaced_plugin_takes_over_between_two_commits_and_one_that_fails_is_taken_back() -> Result<()> {
    let mut site = Site::new()?;
    site.plugins = site.path().join("plugins");
    fs::create_dir(&site.plugins)?;
    let replace = |site: &Site, with: &std::path::Path| -> Result<()> {
        // As a careful user does: nobody sees half of it.
        let new = site.plugins.join("new");
        fs::copy(with, &new)?;
        fs::rename(&new, site.plugins.join("p.wasm"))?;
        Ok(())
    };
    let guest = |name: &str| guests().join(format!("{name}.wasm"));
    // It forwards every row, whatever its settings are.
    replace(&site, &guest("hostile"))?;
    let node = |column: &str| {
        format!("node: [{{id: n, type: plugin, plugin: p, settings: {{column: {column}, least: 5}}}}]\n")
    };
    site.write("good.yaml", http("good", &node("id")))?;
    site.write("bad.yaml", http("bad", &node("nowhere")))?;
    site.ok(&["create", "pipeline", "-f", "good.yaml", "-f", "bad.yaml"])?;
    let served = Served::start(&site, &[])?;
    for pipeline in ["good", "bad"] {
        ensure!(post(&served, pipeline, 1)? == 200);
    }
    let old = served.reach("good", running)?["plugins"]["p"].clone();
    replace(&site, &guest("keep-large"))?;
    for pipeline in ["good", "bad"] {
        served.reach(pipeline, |about| running(about) && about["plugins"]["p"] != old)?;
    }
    for id in [2, 7] {
        ensure!(post(&served, "good", id)? == 200);
    }
    // The new one has no such column: what was sent to it is not stored, and the old one comes back.
    ensure!(post(&served, "bad", 2)? != 200);
    let back = served.reach("bad", |about| running(about) && about["plugins"]["p"] == old)?;
    ensure!(back["error"].as_str().is_some_and(|error| error.contains("taken back")), "{back}");
    ensure!(post(&served, "bad", 3)? == 200);
    let after = served.get("/v1/pipelines/bad")?.json()?;
    ensure!(after["error"] == back["error"], "a commit does not make the new one better: {after}");
    // One that is no handler at all never starts.
    replace(&site, &root().join("plugins/json.wasm"))?;
    served.reach("good", |about| about["code"] == "E0214")?;
    ensure!(post(&served, "good", 8)? == 200);
    let after = served.get("/v1/pipelines/good")?.json()?;
    ensure!(running(&after) && after["code"] == "E0214", "a commit does not make the new one better: {after}");
    let said = site.ok(&["logs", "pipeline", "good", "--server", &served.url()])?;
    ensure!(said.contains("it runs as it was"), "{said}");
    served.stop()?;
    ensure!(ids(&site, "good")? == [1, 7, 8], "{:?}", ids(&site, "good")?);
    ensure!(ids(&site, "bad")? == [1, 3], "{:?}", ids(&site, "bad")?);
    Ok(())
}
