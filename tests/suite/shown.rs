//! What a server shows of pipelines besides their status: their specs, who feeds whom, what was set aside; and `spout run --ui`, which
//! serves all of it beside the pipelines that it runs.

use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{
    Running, Site,
    http::{Answer, request},
    posted::{http, running},
    served::Served,
    troubled::Troubled,
};

/// Asks as one who has this token.
fn ask(address: &str, token: &str, line: &str, body: &Value) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request(address, line, &[("authorization", &bearer)], body.as_bytes())
}

/// The ids of nodes, or the two ends of edges.
fn drawn(graph: &Value) -> Result<(Vec<String>, Vec<String>)> {
    let all = |list: &str, of: &dyn Fn(&Value) -> String| -> Result<Vec<String>> {
        Ok(graph[list].as_array().with_context(|| format!("{list}: {graph}"))?.iter().map(of).collect())
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((
        all("nodes", &|node| format!("{} {}", text(&node["kind"]), text(&node["name"])))?,
        all("edges", &|edge| format!("{} -> {} {}", text(&edge["from"]), text(&edge["to"]), text(&edge["label"])))?,
    ))
}

#[test]
fn specs_graphs_and_dead_letters_are_shown_to_those_who_may_see_them() -> Result<()> {
    let site = Site::new()?;
    let more = "# for all\ndescription: as https://ada:s3cret-x@example.com has it\nconsumers: [{type: print}]\n";
    let text = http("in", more);
    site.write("in.yaml", &text)?;
    site.write("down.yaml", "pipeline: {name: down}\nproducer: {repo: {repo: in}}\nconsumers: [{type: print}]\n")?;
    site.ok(&["create", "pipeline", "-f", "in.yaml", "-f", "down.yaml"])?;
    let token = |scopes: &[&str]| -> Result<String> {
        let mut args = vec!["token", "create", "--tokens", "tokens.json", "--name", "t"];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        Ok(site.ok(&args)?.trim().to_owned())
    };
    let (all, reader, other) = (token(&["admin:*", "run:*"])?, token(&["read:in"])?, token(&["run:in", "read:*"])?);
    // A replay is sent, and so may reach no more of this machine than others that are.
    let served = Served::start(&site, &["--tokens", "tokens.json", "--allow", "files"])?;
    let get = |token: &str, path: &str| ask(&served.address, token, &format!("GET {path}"), &Value::Null)?.json();
    let status = |so: &dyn Fn(&Value) -> bool| -> Result<Value> {
        let begun = std::time::Instant::now();
        loop {
            let about = get(&all, "/v1/pipelines/in")?;
            if so(&about) {
                return Ok(about);
            }
            ensure!(begun.elapsed() < std::time::Duration::from_secs(60), "it stays so: {about}");
        }
    };
    let port = status(&running)?["address"].as_str().context("an address")?.to_owned();
    let rows = b"{\"id\":1}\n{\"id\":\"x\"}\nnope\n{\"id\":\"y\"}\n";
    ensure!(request(&port, "POST /", &[("content-type", "application/x-ndjson")], rows)?.status == 200);
    // The spec as it was written, without the value of the variable.
    let spec = get(&reader, "/v1/pipelines/in/spec")?;
    ensure!(spec["text"] == text.replace("ada:s3cret-x", "(hidden)") && spec["file"] == "_specs:/in.yaml", "{spec}");
    let specs = get(&all, "/v1/specs")?;
    ensure!(specs.to_string().contains("as https://(hidden)@example.com has it"), "{specs}");
    ensure!(!specs.to_string().contains("s3cret-x"), "{specs}");
    ensure!(ask(&served.address, &reader, "GET /v1/pipelines/down/spec", &Value::Null)?.status == 404);
    ensure!(ask(&served.address, &all, "GET /v1/pipelines/none/spec", &Value::Null)?.code() == "E0952");
    // What was set aside, as the command line says it.
    let letters = get(&reader, "/v1/deadletters/in")?;
    ensure!(letters == Value::Array(site.json(&["deadletter", "list", "in"])?), "{letters}");
    ensure!(letters[0]["code"] == "json.type" && letters[0]["letters"] == 2 && letters[1]["letters"] == 1, "{letters}");
    ensure!(letters[0]["reason"].is_string() && letters[0]["stage"] == "decode", "{letters}");
    ensure!(get(&reader, "/v1/deadletters/in?at=master&limit=1")?.as_array().map(Vec::len) == Some(1));
    ensure!(ask(&served.address, &reader, "GET /v1/deadletters/down", &Value::Null)?.status == 404);
    ensure!(ask(&served.address, &reader, "GET /v1/deadletters/in?at=nowhere", &Value::Null)?.status == 404);
    // Who feeds whom.
    let (nodes, edges) = drawn(&get(&all, "/v1/graph")?)?;
    ensure!(nodes.contains(&"pipeline in".to_owned()) && nodes.contains(&"pipeline down".to_owned()), "{nodes:?}");
    ensure!(nodes.iter().filter(|node| node.starts_with("consumer ")).count() == 2, "{nodes:?}");
    ensure!(nodes.iter().any(|node| node.starts_with("source what is posted")), "{nodes:?}");
    ensure!(edges.contains(&"in -> down ".to_owned()) && edges.len() == 4, "{edges:?}");
    let (nodes, edges) = drawn(&get(&reader, "/v1/graph")?)?;
    ensure!(nodes.len() == 3 && edges.len() == 2, "its source and consumer: {nodes:?} {edges:?}");
    ensure!(!format!("{nodes:?} {edges:?}").contains("down"), "{nodes:?} {edges:?}");
    let whole = |args: &[&str]| site.json(&[args, &["draw", "pipeline"]].concat());
    site.write("token", &all)?;
    let url = served.url();
    let far = whole(&["--server", &url, "--token", "token"])?;
    ensure!(far == whole(&[])?, "a server draws what its store has: {far:?}");
    ensure!(far[0]["nodes"]["in"] == "pipeline" && far[0]["arrows"].as_array().map(Vec::len) == Some(2), "{far:?}");
    // Once more, through the spec as it is; whoever may, and into what they may run.
    let replay = "POST /v1/pipelines/in/deadletters/replay";
    ensure!(ask(&served.address, &reader, replay, &json!({}))?.status == 403, "who may only read");
    ensure!(ask(&served.address, &other, replay, &json!({}))?.status == 403, "who may not run in-replayed");
    let made = ask(&served.address, &all, replay, &json!({}))?.json()?;
    ensure!(made["pipelines"] == json!(["in-replayed"]) && made["done"] == "created", "{made}");
    ensure!(ask(&served.address, &all, replay, &json!({}))?.code() == "E0951", "it is there");
    ensure!(ask(&served.address, &all, replay, &json!({"to": "in"}))?.code() == "E0110", "a repo of its own");
    let begun = std::time::Instant::now();
    while get(&all, "/v1/deadletters/in-replayed").map_or(true, |again| again != letters) {
        ensure!(begun.elapsed() < std::time::Duration::from_secs(60), "all of them fail again");
    }
    let (_, edges) = drawn(&get(&all, "/v1/graph")?)?;
    ensure!(edges.iter().any(|edge| edge.starts_with("in -> in-replayed")), "{edges:?}");
    served.stop()
}

/// Where a run says that its console is.
fn console(run: &mut Running) -> Result<String> {
    let said = run.wait_for("console")?.context("it says where its console is")?;
    ensure!(said["url"] == format!("http://{}", said["address"].as_str().unwrap_or_default()), "{said}");
    said["address"].as_str().map(str::to_owned).context("an address")
}

#[test]
fn a_run_serves_its_console_and_the_api_beside_its_pipelines() -> Result<()> {
    let place = Troubled::new("", "commit: {flush: {rows: 1000, time: 50ms}}")?;
    place.script("partition 0 0 5\n")?;
    let mut run = place.site.start(&["run", "e.yaml", "--ui"])?;
    let address = console(&mut run)?;
    ensure!(address.starts_with("127.0.0.1:"), "{address}");
    place.rows(5)?;
    let get = |path: &str| request(&address, &format!("GET {path}"), &[], b"");
    let about = get("/v1/pipelines/e")?.json()?;
    ensure!(about["name"] == "e" && about["plugin_use"]["troubled"]["calls"].as_u64() > Some(0), "{about}");
    let spec = get("/v1/pipelines/e/spec")?.json()?;
    ensure!(spec["text"] == std::fs::read_to_string(place.site.path().join("e.yaml"))?, "{spec}");
    ensure!(spec["file"] == "e.yaml", "{spec}");
    let (nodes, edges) = drawn(&get("/v1/graph")?.json()?)?;
    ensure!(nodes.len() == 2 && edges.len() == 1, "{nodes:?} {edges:?}");
    ensure!(String::from_utf8(get("/metrics")?.body)?.contains("spout_plugin_calls_total{pipeline=\"e\""));
    // It is steered from there, and what is sent reaches nothing of this machine.
    ensure!(request(&address, "POST /v1/pipelines/e/stop", &[], b"")?.json()?["done"] == "stopped");
    ensure!(get("/v1/pipelines/e")?.json()?["condition"] == "paused");
    let sent = json!({"specs": [{"text": "pipeline: {name: f}\nproducer: {tcp: {listen: '127.0.0.1:0'}, decoder: {type: raw}}\n"}]});
    let sent = request(&address, "POST /v1/pipelines", &[], sent.to_string().as_bytes())?;
    ensure!(sent.status >= 400 && sent.code() == "E0115", "{sent:?}");
    // A page of somebody else is not answered, nor is another machine.
    ensure!(request(&address, "GET /v1/pipelines", &[("origin", "http://evil.example")], b"")?.status == 403);
    run.signal("TERM")?;
    let (fine, said) = run.end()?;
    ensure!(fine && said.contains("everyone on this machine"), "{said}");
    ensure!(TcpStream::connect(&address).is_err(), "nobody listens there any more");
    place.site.fails(&["run", "e.yaml", "--ui=0.0.0.0:0"], 2, &["error[E0913]", "--cert"])?;
    place.site.fails(&["run", "e.yaml", "--ui", "--tokens", "nowhere.json"], 2, &["error[E0911]"])?;
    place.site.fails(&["run", "e.yaml", "--tokens", "nowhere.json"], 2, &["--ui"]).map(drop)
}

#[test]
fn a_hardened_run_serves_its_console_to_those_with_a_token() -> Result<()> {
    let place = Troubled::new("", "")?;
    place.script("partition 0 0 5\n")?;
    let create = ["token", "create", "--tokens", "tokens.json", "--name", "ada", "--scope", "read:e"];
    let token = place.site.ok(&create)?.trim().to_owned();
    let mut run = place.site.start(&["run", "e.yaml", "--ui", "--tokens", "tokens.json", "--harden"])?;
    let Some(said) = run.wait_for("console")? else {
        let (_, said) = run.end()?;
        ensure!(said.contains("E0960"), "{said}");
        eprintln!("skipped: {said}");
        return Ok(());
    };
    let address = said["address"].as_str().context("an address")?.to_owned();
    place.rows(5)?;
    ensure!(request(&address, "GET /v1/pipelines", &[], b"")?.code() == "E0901");
    ensure!(ask(&address, &token, "GET /v1/pipelines", &Value::Null)?.json()?[0]["name"] == "e");
    ensure!(ask(&address, &token, "POST /v1/pipelines/e/stop", &Value::Null)?.status == 403);
    run.signal("TERM")?;
    let (fine, said) = run.end()?;
    ensure!(fine, "{said}");
    Ok(())
}
