//! The console's screens of repos, SQL, dead letters and plugins, in a browser, at a server whose pipelines run.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;
use spout_tests::{Site, browser::Browser, http::request, root, served::Served};

/// Bids through a plugin, what follows them, and a file in which some lines are wrong.
const SPECS: &str = r#"
pipeline: {name: bids}
description: bids of auctions
producer:
  stream: {plugin: nexmark, topic: auctions, settings: {partitions: 4, rate: 2000}}
  decoder: {type: json, schema: {event: utf8, bid: {auction: int64, price: int64, channel: utf8}}, unknown: drop}
node:
  - {id: bids, type: filter, where: "event = 'bid'"}
  - id: columns
    type: map
    columns: {auction: "bid['auction']", price: "bid['price']", channel: "bid['channel']"}
    select: [auction, price, channel]
  - {id: mask, type: plugin, plugin: redact, stateless: true, settings: {columns: [channel]}}
commit: {path: /bids/, flush: {rows: 100000, time: 500ms}}
---
pipeline: {name: hot}
producer: {repo: {repo: bids}}
node: [{id: dear, type: filter, where: "price > 100000"}]
---
pipeline: {name: pushes}
producer:
  stream: {plugin: files, topic: events, settings: {pattern: "*.ndjson"}}
  decoder: {type: json, schema: {id: int64, kind: utf8}}
commit: {path: /pushes/, flush: {rows: 100, time: 200ms}}
grants: {files: {dirs: {events: ../events}}}
"#;
const EVENTS: &str = r#"{"id":1,"kind":"push"}
{"id":"x"}
{bad
{"id":2,"kind":"push"}
{"id":1.5}
"#;

fn look(script: &str) -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let site = Site::new()?;
    site.write("specs/all.yaml", SPECS)?;
    let events = site.write("events/a.ndjson", EVENTS)?;
    let served = Served::start(&site, &["specs"])?;
    let plugin = root().join("plugins/redact.wasm");
    let environment = [("EVENTS", &*events.to_string_lossy()), ("PLUGIN", &*plugin.to_string_lossy())];
    println!("{}", browser.look(script, &served.url(), &environment)?);
    served.stop()
}

#[test]
fn a_repo_shows_what_the_api_and_sql_say_of_its_commits_and_files() -> Result<()> {
    look("repo.mjs")
}

#[test]
fn sql_alters_no_digit_and_goes_back_in_time() -> Result<()> {
    look("sql.mjs")
}

#[test]
fn dead_letters_are_grouped_and_shown_byte_by_byte() -> Result<()> {
    look("letters.mjs")
}

#[test]
fn a_plugin_says_what_it_takes_and_a_new_one_is_put() -> Result<()> {
    look("plugins.mjs")
}

#[test]
fn much_data_is_shown_without_delay() -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let dist = root().join("host/server/console/dist");
    println!("{}", browser.look("load-data.mjs", "", &[("DIST", &dist.to_string_lossy())])?);
    Ok(())
}

#[test]
fn what_a_plugin_says_of_itself_is_what_inspect_shows() -> Result<()> {
    let site = Site::new()?;
    let create = |name: &str, scope: &str| {
        let args = ["token", "create", "--tokens", "tokens.json", "--name", name, "--scope", scope];
        site.ok(&args).map(|token| token.trim().to_owned())
    };
    let (putter, reader) = (create("putter", "plugin:files")?, create("reader", "read:*")?);
    let served = Served::start(&site, &["--tokens", "tokens.json"])?;
    let ask = |token: &str, what: &str, body: &[u8]| {
        let bearer = format!("Bearer {token}");
        request(&served.address, what, &[("authorization", bearer.as_str())], body)
    };
    let none = ask(&putter, "GET /v1/plugins/files/about", b"")?;
    ensure!(none.status == 404 && none.code() == "E0957", "{none:?}");
    let file = root().join("plugins/files.wasm");
    let put = ask(&putter, "PUT /v1/plugins/files", &fs::read(&file)?)?.json()?;
    let about = ask(&putter, "GET /v1/plugins/files/about", b"")?.json()?;
    let shown = site.json(&["plugin", "inspect", &file.to_string_lossy()])?.remove(0);
    for part in ["name", "digest", "offers", "manifest"] {
        ensure!(about[part] == shown[part] && about[part] != Value::Null, "{part}: {about} {shown}");
    }
    ensure!(about["worlds"] == put["worlds"] && about["size"] == put["size"], "{about} {put}");
    let digest = put["digest"].as_str().unwrap_or_default();
    let one = ask(&putter, &format!("GET /v1/plugins/files/about?digest={digest}"), b"")?.json()?;
    ensure!(one == about, "{one}");
    for other in ["sha256:00", "", "../files"] {
        let none = ask(&putter, &format!("GET /v1/plugins/files/about?digest={other}"), b"")?;
        ensure!(none.status == 404 && none.code() == "E0957", "{other}: {none:?}");
    }
    for plugin in ["files", "other"] {
        let refused = ask(&reader, &format!("GET /v1/plugins/{plugin}/about"), b"")?;
        ensure!(refused.status == 403, "{plugin}: {refused:?}");
    }
    served.stop()
}
