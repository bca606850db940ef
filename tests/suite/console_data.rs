//! The console's screens of repos, SQL, dead letters and plugins, in a browser, at a server whose pipelines run.

use std::{
    fs,
    process::Output,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
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

/// Rows that a plugin is tried over.
const ROWS: &str = "{\"id\":1,\"channel\":\"a\"}\n{\"id\":2,\"channel\":\"b\"}\n{\"id\":3,\"channel\":null}\n";

/// The lines of JSON that a command has written, however it ended.
fn lines(output: &Output) -> Vec<Value> {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

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

/// Pipelines with tests: some pass, one fails, and one has none.
const TESTED: &str = r#"
pipeline: {name: bids}
producer:
  stream: {plugin: nexmark, topic: auctions, settings: {partitions: 1, rate: 100}}
  decoder: {type: json, schema: {event: utf8, price: int64, channel: utf8}, unknown: drop}
node:
  - {id: bids, type: filter, where: "event = 'bid'"}
  - {id: mask, type: plugin, plugin: redact, stateless: true, settings: {columns: [channel]}}
tests:
  - name: channels are masked
    lines: ['{"event":"bid","price":1,"channel":"secret"}', '{"event":"auction"}']
    expect: [{event: bid, price: 1, channel: "***"}]
  - name: prices are doubled
    lines: ['{"event":"bid","price":1}']
    expect: [{price: 2}]
  - name: broken lines are set aside
    lines: ['{']
    expect: []
    expectErrors: [{code: json.syntax}]
---
pipeline: {name: untested}
producer: {repo: {repo: bids}}
"#;

#[test]
fn what_the_server_tries_is_what_the_command_line_says() -> Result<()> {
    let site = Site::new()?;
    site.write("specs/tested.yaml", TESTED)?;
    site.write("rows.ndjson", ROWS)?;
    let create = |name: &str, scope: &str| {
        let args = ["token", "create", "--tokens", "tokens.json", "--name", name, "--scope", scope];
        site.ok(&args).map(|token| token.trim().to_owned())
    };
    let (runner, putter, reader) = (create("r", "run:*")?, create("p", "plugin:*")?, create("n", "read:*")?);
    let served = Served::start(&site, &["specs", "--tokens", "tokens.json"])?;
    let ask = |token: &str, what: &str, body: &Value| {
        let bearer = format!("Bearer {token}");
        request(&served.address, what, &[("authorization", bearer.as_str())], body.to_string().as_bytes())
    };
    let started = Instant::now();
    for name in ["bids", "untested"] {
        while ask(&runner, &format!("GET /v1/pipelines/{name}/spec"), &json!({}))?.status != 200 {
            ensure!(started.elapsed() < Duration::from_secs(60), "{name} is not known");
            sleep(Duration::from_millis(20));
        }
    }
    // Tests of a spec.
    let said = ask(&runner, "POST /v1/pipelines/bids/test", &json!({}))?.json()?;
    let shown: Vec<Value> = lines(&site.run(&["test", "specs/tested.yaml", "--json"])?);
    let tests = said["tests"].as_array().context("its tests")?;
    ensure!(tests.len() == 3 && shown.len() >= 3, "{said} {shown:?}");
    for (test, shown) in tests.iter().zip(&shown) {
        ensure!(test["test"] == shown["test"] && test["passed"] == shown["passed"], "{test} {shown}");
        let what = |of: &Value| {
            of["problems"].as_array().map(|all| all.iter().map(|one| one["what"].clone()).collect::<Vec<_>>())
        };
        ensure!(what(test) == what(shown), "{test} {shown}");
    }
    ensure!(tests[1]["problems"][0]["diff"].as_array().is_some_and(|diff| diff.len() >= 2), "{said}");
    let none = ask(&runner, "POST /v1/pipelines/untested/test", &json!({}))?.json()?;
    ensure!(none["tests"] == json!([]), "{none}");
    // Promises of a plugin.
    let file = root().join("plugins/redact.wasm").to_string_lossy().into_owned();
    let put = request(
        &served.address,
        "PUT /v1/plugins/redact",
        &[("authorization", &format!("Bearer {putter}"))],
        &fs::read(&file)?,
    )?;
    ensure!(put.status == 200, "{put:?}");
    for column in ["channel", "nobody"] {
        let asked = json!({"settings": {"columns": [column]}, "input": ROWS, "table": "ndjson"});
        let said = ask(&putter, "POST /v1/plugins/redact/test", &asked)?.json()?;
        let columns = format!("columns={column}");
        let shown =
            lines(&site.run(&["plugin", "test", &file, "--input", "rows.ndjson", "--settings", &columns, "--json"])?);
        let found = said["findings"].as_array().context("its findings")?;
        ensure!(found.len() == shown.len() && !found.is_empty(), "{said} {shown:?}");
        for (found, shown) in found.iter().zip(&shown) {
            for part in ["interface", "offer", "promise", "kept", "seen"] {
                ensure!(found[part] == shown[part] && found[part] != Value::Null, "{part}: {found} {shown}");
            }
        }
        ensure!((column == "channel") == found.iter().all(|found| found["kept"] == true), "{said}");
    }
    // Who may have it tried, and what.
    for (token, what) in [
        (&reader, "POST /v1/pipelines/bids/test"),
        (&reader, "POST /v1/plugins/redact/test"),
        (&runner, "POST /v1/plugins/redact/test"),
    ] {
        let refused = ask(token, what, &json!({}))?;
        ensure!(refused.status == 403 && refused.code() == "E0902", "{what}: {refused:?}");
    }
    let nobody = ask(&runner, "POST /v1/pipelines/nobody/test", &json!({}))?;
    ensure!(nobody.status == 404, "{nobody:?}");
    for (asked, part) in [
        (json!({}), "`table`"),
        (json!({"table": "ndjson"}), "`input`"),
        (json!({"interface": "decoder"}), "nothing of that kind"),
        (json!({"settings": {"colum": "x"}}), "no setting `colum`"),
        (json!({"table": "parquet", "input": "x"}), "JSON is wrong"),
        (json!({"digest": "sha256:00"}), "redact"),
    ] {
        let refused = ask(&putter, "POST /v1/plugins/redact/test", &asked)?;
        ensure!(
            matches!(refused.status, 400 | 404) && String::from_utf8_lossy(&refused.body).contains(part),
            "{asked}: {refused:?}"
        );
    }
    served.stop()
}

#[test]
fn what_is_tried_in_the_console_is_listed_check_by_check() -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let site = Site::new()?;
    site.write("specs/tested.yaml", TESTED)?;
    site.write("rows.ndjson", ROWS)?;
    let served = Served::start(&site, &["specs"])?;
    let file = root().join("plugins/redact.wasm").to_string_lossy().into_owned();
    let tests = site.run(&["test", "specs/tested.yaml", "--json"])?.stdout;
    let columns = |of: &str| {
        ["plugin", "test", &file, "--input", "rows.ndjson", "--settings", &format!("columns={of}"), "--json"]
            .map(str::to_owned)
    };
    let promises = |of: &str| {
        site.run(&columns(of).each_ref().map(String::as_str))
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let environment = [
        ("TESTS", &*String::from_utf8_lossy(&tests)),
        ("KEPT", &*promises("channel")?),
        ("BROKEN", &*promises("nobody")?),
        ("ROWS", ROWS),
    ];
    println!("{}", browser.look("trying.mjs", &served.url(), &environment)?);
    served.stop()
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
