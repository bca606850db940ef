//! Pipelines and plugins over HTTP: made, changed, followed and removed by those whose tokens say so, and by nobody else.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{
    Site, guests,
    http::request,
    posted::{http, ids, post, running},
    root,
    served::Served,
};

/// Specs as they are sent.
fn specs(all: &[&str]) -> Value {
    json!({"specs": all.iter().map(|text| json!({"text": text})).collect::<Vec<_>>()})
}

#[test]
fn a_client_makes_changes_follows_and_removes_a_pipeline() -> Result<()> {
    let mut site = Site::new()?;
    let served = Served::start(&site, &["--allow", "ports"])?;
    site.environment = vec![("SPOUT_SERVER", served.url())];
    site.write("one.yaml", http("one", ""))?;
    site.ok(&["create", "pipeline", "-f", "one.yaml"])?;
    ensure!(post(&served, "one", 1)? == 200);
    // What it says, from what it said lately on.
    let mut logs = site.command(&["logs", "pipeline", "one", "-n", "5", "-f", "--json"]);
    let mut logs = logs.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(logs.stdout.take().context("its output")?).lines();
    let mut until = |part: &str| -> Result<()> {
        for line in lines.by_ref() {
            let line: Value = serde_json::from_str(&line?)?;
            ensure!(line["at_ms"].is_i64() && line["level"].is_string(), "{line}");
            if line["text"].as_str().is_some_and(|text| text.contains(part)) {
                return Ok(());
            }
        }
        anyhow::bail!("the log ended before {part}")
    };
    until("listening at")?;
    until("1 rows")?;
    ensure!(post(&served, "one", 2)? == 200);
    until("1 rows")?;
    site.write("one.yaml", http("one", "node: [{id: large, type: filter, where: id > 10}]\n"))?;
    let before = served.reach("one", running)?["since_ms"].clone();
    site.ok(&["update", "pipeline", "-f", "one.yaml"])?;
    until("stopped after")?;
    until("running, from commit")?;
    logs.kill()?;
    logs.wait()?;
    served.reach("one", |about| running(about) && about["since_ms"] != before)?;
    for id in [3, 12] {
        ensure!(post(&served, "one", id)? == 200);
    }
    site.fails(&["fsck", "--repair"], 1, &["error[E0919]", "runs one"])?;
    site.ok(&["fsck", "--deep"])?;
    // What others send cannot be read again.
    site.fails(&["update", "pipeline", "-f", "one.yaml", "--reprocess"], 2, &["error[E0955]"])?;
    let before = served.reach("one", running)?["since_ms"].clone();
    site.ok(&["pipeline", "restart", "one"])?;
    served.reach("one", |about| running(about) && about["since_ms"] != before)?;
    let flushed = site.ok(&["pipeline", "flush", "one"])?;
    ensure!(flushed.contains("commits what it has read"), "{flushed}");
    let metrics = request(&served.address, "GET /metrics", &[], b"")?;
    let metrics = String::from_utf8(metrics.body)?;
    ensure!(metrics.contains("spout_pipeline_state{pipeline=\"one\",state=\"running\"} 1"), "{metrics}");
    site.ok(&["pipeline", "pause", "one"])?;
    served.reach("one", |about| about["state"] == "stopped")?;
    site.fails(&["pipeline", "flush", "one"], 2, &["error[E0910]"])?;
    site.ok(&["pipeline", "resume", "one"])?;
    ensure!(post(&served, "one", 13)? == 200);
    ensure!(site.ok(&["logs", "pipeline", "one", "-n", "1"])?.contains("committed"), "the last line");
    site.fails(&["logs", "pipeline", "two"], 2, &["error[E0910]"])?;
    site.ok(&["delete", "pipeline", "one"])?;
    served.reach("one", |about| about["code"] == "E0910")?;
    served.stop()?;
    site.environment = Vec::new();
    site.fails(&["logs", "pipeline", "one"], 2, &["error[E0848]", "--server"])?;
    site.fails(&["pipeline", "flush", "two"], 2, &["error[E0848]", "--server"])?;
    ensure!(ids(&site, "one")? == [1, 2, 12, 13], "{:?}", ids(&site, "one")?);
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn what_is_sent_reaches_no_more_than_the_server_and_the_token_allow() -> Result<()> {
    let site = Site::new()?;
    for repo in ["mine", "theirs"] {
        site.ok(&["create", "repo", repo])?;
    }
    let token = |scopes: &[&str]| -> Result<String> {
        let mut args = vec!["token", "create", "--tokens", "tokens.json", "--name", "test"];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        Ok(format!("Bearer {}", site.ok(&args)?.trim()))
    };
    let (runner, admin) = (token(&["run:clean-*", "read:mine"])?, token(&["admin:*"])?);
    let served = Served::start(&site, &["--tokens", "tokens.json", "--allow", "ports"])?;
    let ask = |line: &str, token: &str, body: &[u8]| request(&served.address, line, &[("authorization", token)], body);
    let create = |spec: &str| ask("POST /v1/pipelines", &runner, specs(&[spec]).to_string().as_bytes());
    let reads = |name: &str, repo: &str| format!("pipeline: {{name: {name}}}\nproducer: {{repo: {{repo: {repo}}}}}\n");
    let refused = [
        (reads("other", "mine"), 403, "E0902"),
        (reads("clean-1", "theirs"), 400, "E0918"),
        (reads("clean-1", "_specs"), 400, "E0918"),
        (reads("_plugins", "mine"), 400, "E0108"),
        ("pipeline: {name: clean-1}\ntransform: {cmd: [./x], trusted: true}\n".into(), 403, "E0115"),
        (format!("{}consumers: [{{type: file, path: /tmp/x.csv}}]\n", reads("clean-1", "mine")), 403, "E0115"),
        ("pipeline: [".into(), 400, "E0102"),
    ];
    for (spec, status, code) in refused {
        let answer = create(&spec)?;
        ensure!(answer.status == status && answer.code() == code, "{spec}: {} {}", answer.status, answer.code());
    }
    let nothing = ask("POST /v1/pipelines", &runner, b"{\"specs\": []}")?;
    ensure!(nothing.status == 400 && nothing.code() == "E0903", "no spec at all");
    // Who looks after one repo looks after no other.
    let keeper = token(&["admin:mine"])?;
    for (repo, status) in [("mine", 200), ("theirs", 403), ("_specs", 403)] {
        let body = json!({"repo": repo, "min_age_ms": 0}).to_string();
        let collected = ask("POST /v1/gc", &keeper, body.as_bytes())?;
        ensure!(collected.status == status, "gc of {repo}: {}", collected.status);
        let body = json!({"repo": repo, "depth": "decoded"}).to_string();
        ensure!(ask("POST /v1/fsck", &keeper, body.as_bytes())?.status == status, "fsck of {repo}");
    }
    let all = ask("POST /v1/fsck", &keeper, br#"{"depth": "structure"}"#)?;
    ensure!(all.status == 200 && all.json()?["repos"] == 1, "those that it looks after");
    let twice = specs(&[&reads("clean-1", "mine"), &reads("clean-1", "mine")]).to_string();
    ensure!(ask("POST /v1/pipelines", &runner, twice.as_bytes())?.code() == "E0112", "one name twice");
    // Several are all made or none.
    let both = specs(&[&reads("clean-1", "mine"), &reads("other", "mine")]).to_string();
    ensure!(ask("POST /v1/pipelines", &runner, both.as_bytes())?.code() == "E0902");
    ensure!(ask("GET /v1/specs", &admin, b"")?.json()? == json!([]), "nothing was created");
    ensure!(create(&reads("clean-1", "mine"))?.status == 200);
    // Nobody gets around the routes of pipelines by putting files.
    for repo in ["_specs", "_plugins"] {
        let put = ask(&format!("PUT /v1/repos/{repo}/files/master/x.yaml"), &admin, b"x")?;
        ensure!(put.status == 403 && put.code() == "E0917", "{repo}: {}", put.code());
        let delete = ask(&format!("DELETE /v1/repos/{repo}?force=true"), &admin, b"")?;
        ensure!(delete.code() == "E0917", "{repo}: {}", delete.code());
    }
    let copy = json!({"from": "mine@master:/a", "to": "_specs@master:/a"}).to_string();
    ensure!(ask("POST /v1/repos/_specs/copy", &admin, copy.as_bytes())?.code() == "E0917");
    ensure!(ask("DELETE /v1/pipelines/clean-1", &admin, b"")?.code() == "E0902", "an admin of repos runs nothing");
    ensure!(ask("DELETE /v1/pipelines/clean-1", &runner, b"")?.status == 200);
    served.stop()
}

#[test]
fn a_pipeline_begins_anew_once() -> Result<()> {
    let site = Site::new()?;
    site.write("a.csv", "id\n1\n2\n3\n")?;
    site.ok(&["create", "repo", "source"])?;
    site.ok(&["put", "file", "source@master:/a.parquet", "--table", "-f", "a.csv"])?;
    let spec = |least: u64| {
        format!(
            "pipeline: {{name: p}}\nproducer: {{repo: {{repo: source}}}}\nnode: [{{id: f, type: filter, where: 'id >= {least}'}}]\n"
        )
    };
    site.write("p.yaml", spec(3))?;
    let served = Served::start(&site, &[])?;
    site.ok(&["create", "pipeline", "-f", "p.yaml"])?;
    let first = served.reach("p", |about| about["commits"] == 1)?["head"].clone();
    ensure!(ids(&site, "p")? == [3]);
    site.write("p.yaml", spec(2))?;
    site.ok(&["update", "pipeline", "-f", "p.yaml", "--reprocess"])?;
    // Commits are counted from each start.
    served.reach("p", |about| about["commits"] == 1 && about["head"] != first)?;
    ensure!(ids(&site, "p")? == [2, 3], "it was read again, and what was there before is gone");
    ensure!(site.number("select count(*) from p", Some("p@master~2"))? == 1, "history keeps it");
    served.stop()?;
    let history = |repo: &str| -> Result<usize> { Ok(site.json(&["list", "commit", repo])?.len()) };
    let (before, said) = (history("p")?, site.json(&["list", "commit", "_specs"])?);
    ensure!(said[0]["reason"] == "begin anew pipeline p", "{}", said[0]);
    let served = Served::start(&site, &[])?;
    site.ok(&["put", "file", "source@master:/b.parquet", "--table", "-f", "a.csv"])?;
    served.reach("p", |about| about["commits"] == 1)?;
    served.stop()?;
    ensure!(history("p")? == before + 1 && ids(&site, "p")? == [2, 2, 3, 3], "it does not begin anew again");
    Ok(())
}

#[test]
fn plugins_are_put_by_digest_and_outlive_their_files() -> Result<()> {
    let mut site = Site::new()?;
    site.plugins = site.path().join("plugins");
    let served = Served::start(&site, &["--allow", "ports"])?;
    let guest = |name: &str| fs::read(guests().join(format!("{name}.wasm")));
    let put = |served: &Served, name: &str, wasm: &[u8]| {
        request(&served.address, &format!("PUT /v1/plugins/{name}"), &[("content-type", "application/wasm")], wasm)
    };
    for (wasm, code) in [(b"nothing".to_vec(), "E0212"), (b"\0asm\x01\0\0\0".to_vec(), "E0213")] {
        let answer = put(&served, "p", &wasm)?;
        ensure!(answer.status == 422 && answer.code() == code, "{} {}", answer.status, answer.code());
    }
    ensure!(put(&served, "_p", b"x")?.status == 400, "a name that is none");
    ensure!(served.get("/v1/plugins")?.json()? == json!([]), "nothing was taken");
    let first = put(&served, "p", &guest("hostile")?)?.json()?;
    let digest = first["digest"].as_str().context("a digest")?.to_owned();
    ensure!(first["worlds"].to_string().contains("handler"), "{first}");
    let node = |plugin: &str| {
        format!("node: [{{id: n, type: plugin, plugin: '{plugin}', settings: {{column: id, least: 5}}}}]\n")
    };
    // It forwards every row; the next version those of five and more.
    let texts = [http("newest", &node("p")), http("pinned", &node(&format!("p@{digest}")))];
    let all = specs(&[&texts[0], &texts[1]]).to_string();
    ensure!(request(&served.address, "POST /v1/pipelines", &[], all.as_bytes())?.status == 200);
    for pipeline in ["newest", "pinned"] {
        ensure!(post(&served, pipeline, 1)? == 200);
    }
    let second = put(&served, "p", &guest("keep-large")?)?.json()?["digest"].clone();
    served.reach("newest", |about| running(about) && about["plugins"]["p"] == second)?;
    for pipeline in ["newest", "pinned"] {
        ensure!(post(&served, pipeline, 2)? == 200 && post(&served, pipeline, 7)? == 200);
    }
    let kept = served.get("/v1/plugins/p")?.json()?;
    ensure!(kept["newest"] == second && kept["versions"].as_array().map(Vec::len) == Some(2), "{kept}");
    let delete = |served: &Served| request(&served.address, "DELETE /v1/plugins/p", &[], b"");
    ensure!(delete(&served)?.code() == "E0958", "it is used");
    served.stop()?;
    // A file of the directory goes before what is kept; one that is broken keeps nobody from running what it ran.
    fs::create_dir(&site.plugins)?;
    fs::copy(root().join("plugins/json.wasm"), site.plugins.join("p.wasm"))?;
    let served = Served::start(&site, &[])?;
    let about = served.reach("newest", |about| running(about) && about["plugins"]["p"] == second)?;
    ensure!(about["code"] == "E0214", "{about}");
    for pipeline in ["newest", "pinned"] {
        ensure!(post(&served, pipeline, 3)? == 200 && post(&served, pipeline, 8)? == 200);
        request(&served.address, &format!("DELETE /v1/pipelines/{pipeline}"), &[], b"")?;
        served.reach(pipeline, |about| about["code"] == "E0910")?;
    }
    ensure!(delete(&served)?.status == 200 && delete(&served)?.code() == "E0957");
    served.stop()?;
    ensure!(ids(&site, "newest")? == [1, 7, 8], "{:?}", ids(&site, "newest")?);
    ensure!(ids(&site, "pinned")? == [1, 2, 3, 7, 8], "{:?}", ids(&site, "pinned")?);
    Ok(())
}

#[test]
fn of_two_servers_of_a_store_one_runs_a_pipeline_until_it_is_gone() -> Result<()> {
    let site = Site::new()?;
    site.write("one.yaml", http("one", ""))?;
    site.ok(&["create", "pipeline", "-f", "one.yaml"])?;
    let mut first = Served::start(&site, &[])?;
    ensure!(post(&first, "one", 1)? == 200);
    let second = Served::start(&site, &[])?;
    let waits = |served: &Served| served.reach("one", |about| about["state"] == "elsewhere");
    ensure!(waits(&second)?["code"] == "E0956");
    // Neither takes it from the other: the same writer goes on.
    let epoch = || -> Result<Value> { Ok(site.json(&["inspect", "pipeline", "one"])?[0]["epoch"].clone()) };
    let before = epoch()?;
    for id in 2..6 {
        ensure!(post(&first, "one", id)? == 200);
        waits(&second)?;
    }
    ensure!(epoch()? == before);
    first.running.signal("KILL")?;
    first.running.child.wait()?;
    ensure!(post(&second, "one", 6)? == 200, "the other one takes over");
    // One that stops in order hands over as well.
    let third = Served::start(&site, &[])?;
    waits(&third)?;
    second.stop()?;
    ensure!(post(&third, "one", 7)? == 200);
    third.stop()?;
    ensure!(ids(&site, "one")? == [1, 2, 3, 4, 5, 6, 7], "{:?}", ids(&site, "one")?);
    ensure!(
        !site.path().join("store/servers").read_dir().is_ok_and(|mut left| left.next().is_some()),
        "nothing is left"
    );
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn two_servers_that_start_together_share_the_pipelines() -> Result<()> {
    let site = Site::new()?;
    let names = ["a", "b", "c", "d", "e"];
    site.write("all.yaml", names.map(|name| http(name, "")).join("---\n"))?;
    site.ok(&["create", "pipeline", "-f", "all.yaml"])?;
    let (mut first, second) = (Served::start(&site, &[])?, Served::start(&site, &[])?);
    // Each comes to run on one of them, and there it stays.
    let runner = |name: &str| -> Result<bool> {
        let (mut here, mut there) = (Value::Null, Value::Null);
        for _ in 0..3000 {
            (here, there) = (first.reach(name, |_| true)?, second.reach(name, |_| true)?);
            match (running(&here), running(&there)) {
                (true, false) if there["state"] == "elsewhere" => return Ok(true),
                (false, true) if here["state"] == "elsewhere" => return Ok(false),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        anyhow::bail!("{name} runs on both or on none: {here} {there}")
    };
    let on_first = names.map(runner);
    let epochs = || names.map(|name| site.json(&["inspect", "pipeline", name]).map(|all| all[0]["epoch"].clone()).ok());
    let before = epochs();
    for (name, on_first) in names.iter().zip(on_first) {
        let on_first = on_first?;
        let status = post(if on_first { &first } else { &second }, name, 1)?;
        let now = (first.reach(name, |_| true)?, second.reach(name, |_| true)?);
        ensure!(status == 200, "{name}, on the first: {on_first}: {status} {now:?}");
    }
    ensure!(epochs() == before, "nobody took one from the other");
    first.running.signal("KILL")?;
    first.running.child.wait()?;
    for name in names {
        let status = post(&second, name, 2)?;
        ensure!(status == 200, "{name}, from the second: {status} {}", second.reach(name, |_| true)?);
    }
    second.stop()?;
    for name in names {
        ensure!(ids(&site, name)? == [1, 2], "{name}: {:?}", ids(&site, name)?);
    }
    site.ok(&["fsck"]).map(drop)
}
