//! What those see who watch: spans and figures by OpenTelemetry, Prometheus' text, `/health`, `/ready`, and log lines in JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{
    Site,
    daemon::{Daemon, free_port},
    http::request,
    served::Served,
    venv,
};

/// OpenTelemetry's own messages, and Prometheus' own parser.
const PACKAGES: [&str; 3] = ["opentelemetry-proto==1.45.2", "protobuf==7.36.2", "prometheus_client==0.26.0"];
const COLLECTOR: &str = include_str!("../support/collector.py");

fn collector() -> Result<Option<Daemon>> {
    let Some(python) = venv::python(&PACKAGES)? else { return Ok(None) };
    let command = move |port: u16| {
        let mut command = Command::new(&python);
        command.args(["-c", COLLECTOR, &port.to_string()]);
        command
    };
    Daemon::start(command).map(Some)
}

fn got(collector: &Daemon, path: &str) -> Result<Vec<Value>> {
    let answer = request(&collector.address(), &format!("GET {path}"), &[], b"")?.json()?;
    Ok(answer.as_array().cloned().unwrap_or_else(|| vec![answer]))
}

/// Whether something is so within a minute; the last that was seen of it.
fn until<T>(mut look: impl FnMut() -> Result<T>, so: impl Fn(&T) -> bool) -> Result<T> {
    let began = Instant::now();
    loop {
        let seen = look()?;
        if so(&seen) || began.elapsed() > Duration::from_secs(60) {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A place whose pipeline `p` reads the files in `in`, and logs a row of each batch.
fn place(more: &[(&'static str, String)]) -> Result<(Site, String)> {
    let mut site = Site::new()?;
    site.environment.extend(more.iter().cloned());
    for file in 0..3 {
        let lines: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        site.write(&format!("in/{file}.ndjson"), lines)?;
    }
    let spec = site.write(
        "specs/p.yaml",
        "pipeline: {name: p}
producer:
  stream: {plugin: files, topic: in, settings: {pattern: '*.ndjson'}}
  decoder: {type: json, schema: {n: int64}}
node:
  - {id: few, type: filter, where: n >= 100}
  - {id: seen, type: log, rows: 1}
  - {id: last, type: dedupe, by: [n], last: 10}
commit: {flush: {rows: 400}}
grants: {files: {dirs: {in: ../in}}}
",
    )?;
    Ok((site, spec.display().to_string()))
}

fn variables(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret".into()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".into()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".into()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50".into()),
        ("OTEL_SERVICE_NAME", "the-service".into()),
        ("NO_PROXY", "127.0.0.1".into()),
    ]
}

fn text<'a>(span: &'a Value, key: &str) -> &'a str {
    span[key].as_str().unwrap_or_default()
}

#[test]
fn a_trace_follows_a_fetch_to_its_commit_and_figures_are_those_of_metrics() -> Result<()> {
    let Some(collector) = collector()? else { return Ok(()) };
    let (site, _) = place(&variables(collector.port()))?;
    let specs = site.path().join("specs").display().to_string();
    let served = Served::start(&site, &[&specs])?;
    served.reach("p", |about| about["condition"] == "idle" && about["counts"]["messages"] == 1500)?;
    let figures = || -> Result<(Value, Value)> {
        let text = served.get("/metrics")?.body;
        let said = request(&collector.address(), "POST /parse", &[], &text)?;
        ensure!(said.status == 200, "{}\n{}", String::from_utf8_lossy(&said.body), String::from_utf8_lossy(&text));
        Ok((said.json()?, got(&collector, "/figures")?.into()))
    };
    let (said, sent) = until(figures, |(said, sent)| said == sent)?;
    ensure!(said == sent && said.as_array().is_some_and(|all| all.len() > 20), "{said}\nis not\n{sent}");
    served.running.signal("TERM")?;
    let (success, log) = served.running.end()?;
    ensure!(success, "{log}");

    let spans = got(&collector, "/spans")?;
    let by_id: BTreeMap<&str, &Value> = spans.iter().map(|span| (text(span, "span"), span)).collect();
    ensure!(by_id.len() == spans.len(), "two spans have one id");
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let of = |span: &Value| by_id.get(text(span, "parent")).copied().cloned().unwrap_or_default();
    for (child, parent) in [
        ("decode", "fetch"),
        ("chain", "fetch"),
        ("meet", "fetch"),
        ("commit", "fetch"),
        ("encode", "commit"),
        ("durable", "commit"),
        ("publish", "commit"),
    ] {
        let all = named(child);
        ensure!(!all.is_empty(), "there is no span {child} in {spans:?}");
        for span in all {
            ensure!(of(span)["name"] == parent && of(span)["trace"] == span["trace"], "{span} is within {}", of(span));
        }
    }
    let fetches = named("fetch");
    ensure!(
        fetches.iter().all(|span| span["attributes"]["spout.messages"].is_u64()),
        "one that brought nothing: {fetches:?}"
    );
    let messages: u64 = fetches.iter().filter_map(|span| span["attributes"]["spout.messages"].as_u64()).sum();
    ensure!(messages == 1500, "{messages} messages were fetched by {fetches:?}");
    let commits: BTreeSet<String> = site
        .json(&["list", "commit", "p"])?
        .iter()
        .map(|commit| commit["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    let told: BTreeSet<String> =
        named("commit").iter().map(|span| text(&span["attributes"], "spout.commit").to_owned()).collect();
    // One that moves nothing but a place in the source has no fetch to follow.
    ensure!(!told.is_empty() && told.is_subset(&commits), "commits {commits:?}, spans of {told:?}");
    let mut linked = BTreeSet::new();
    for commit in named("commit") {
        let links: Vec<&str> =
            commit["links"].as_array().into_iter().flatten().filter_map(|link| link[1].as_str()).collect();
        ensure!(links.first() == Some(&text(commit, "parent")), "{commit}");
        ensure!(links.iter().all(|link| by_id.get(link).is_some_and(|span| span["name"] == "fetch")), "{commit}");
        linked.extend(links);
    }
    // A fetch that brought something is in one commit.
    let brought = fetches.iter().filter(|span| span["attributes"]["spout.messages"].as_u64() > Some(0));
    ensure!(brought.clone().all(|span| linked.contains(text(span, "span"))), "{spans:?}");
    ensure!(
        spans.iter().all(|span| span["attributes"]["spout.pipeline"] == "p" && span["failed"] == false),
        "{spans:?}"
    );

    let all = format!("{spans:?}{said}{:?}{log}", got(&collector, "/resources")?);
    ensure!(!all.contains("s3cret"), "a secret is told");
    ensure!(got(&collector, "/headers")?[0]["authorization"] == "Bearer s3cret");
    ensure!(got(&collector, "/resources")?.iter().all(|said| said["service.name"] == "the-service"));

    // Log lines name the span that they belong to.
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect::<Result<_>>()?;
    ensure!(
        lines.iter().all(|line| line["timestamp"].is_string()
            && line["level"].is_string()
            && line["fields"]["message"].is_string()),
        "{log}"
    );
    let rows: Vec<&Value> =
        lines.iter().map(|line| &line["fields"]).filter(|fields| fields["handler"] == "seen").collect();
    ensure!(!rows.is_empty(), "{log}");
    for fields in rows {
        let span = by_id.get(text(fields, "span_id")).with_context(|| fields.to_string())?;
        ensure!(
            span["name"] == "chain" && span["trace"] == fields["trace_id"] && fields["pipeline"] == "p",
            "{fields}"
        );
    }
    Ok(())
}

#[test]
fn a_collector_that_does_not_answer_holds_nothing_up() -> Result<()> {
    let closed = free_port()?;
    // One that lets in and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    for port in [closed, silent.local_addr()?.port()] {
        let (site, spec) = place(&variables(port))?;
        let began = Instant::now();
        let run = site.run(&["run", &spec, "--until", "idle", "--json"])?;
        let said = String::from_utf8_lossy(&run.stderr);
        ensure!(run.status.success() && began.elapsed() < Duration::from_secs(60), "{said}");
        ensure!(site.number("select count(*) from p", None)? > 0);
        let told = said.lines().filter(|line| line.contains("collector does not take")).count();
        ensure!(told <= 2, "it is told {told} times:\n{said}");
        if port == closed {
            ensure!(told > 0 && !said.contains("s3cret"), "{said}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_sent_is_said_at_once_and_off_is_off() -> Result<()> {
    let mut more = variables(free_port()?);
    more.push(("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".into()));
    let (site, spec) = place(&more)?;
    site.fails(&["run", &spec, "--until", "idle"], 2, &["E0930", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"])?;
    let mut more = variables(free_port()?);
    more.push(("OTEL_SDK_DISABLED", "true".into()));
    let (site, spec) = place(&more)?;
    let run = site.run(&["run", &spec, "--until", "idle"])?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success() && !said.contains("collector"), "{said}");
    Ok(())
}

#[test]
fn a_hardened_run_reaches_its_collector() -> Result<()> {
    let Some(collector) = collector()? else { return Ok(()) };
    let (site, spec) = place(&variables(collector.port()))?;
    let run = site.run(&["run", &spec, "--until", "idle", "--harden"])?;
    let said = String::from_utf8_lossy(&run.stderr);
    if said.contains("E0960") {
        println!("SKIPPED: this kernel hardens nothing: {said}");
        return Ok(());
    }
    ensure!(run.status.success() && !said.contains("collector does not take"), "{said}");
    ensure!(got(&collector, "/spans")?.iter().any(|span| span["name"] == "publish"), "{said}");
    ensure!(got(&collector, "/figures")?.len() > 10, "the last figures are missing");
    Ok(())
}

#[test]
fn a_part_of_all_traces_is_sent_whole() -> Result<()> {
    let Some(collector) = collector()? else { return Ok(()) };
    let mut more = variables(collector.port());
    more.extend([("OTEL_TRACES_SAMPLER", "always_off".to_owned()), ("OTEL_METRICS_EXPORTER", "none".to_owned())]);
    let (site, spec) = place(&more)?;
    site.ok(&["run", &spec, "--until", "idle"])?;
    ensure!(got(&collector, "/spans")?.is_empty() && got(&collector, "/figures")?.is_empty());
    Ok(())
}

#[test]
fn ready_is_who_does_what_is_to_be_done() -> Result<()> {
    let (site, _) = place(&[])?;
    site.write("bad/0.ndjson", "not JSON\n")?;
    site.write(
        "specs/wrong.yaml",
        "pipeline: {name: wrong}
producer:
  stream: {plugin: files, topic: in}
  decoder: {type: json, schema: {n: int64}}
errors: {decode: fail}
grants: {files: {dirs: {in: ../bad}}}
",
    )?;
    let token = |name: &str, scope: &str| {
        let token = site.ok(&["token", "create", "--tokens", "tokens.json", "--name", name, "--scope", scope])?;
        anyhow::Ok(format!("Bearer {}", token.trim()))
    };
    let (all, some) = (token("all", "read:*")?, token("some", "read:p")?);
    let specs = site.path().join("specs").display().to_string();
    let served = Served::start(&site, &[&specs, "--tokens", "tokens.json"])?;
    let ask = |path: &str, token: Option<&str>| {
        let headers: Vec<(&str, &str)> = token.map(|token| ("authorization", token)).into_iter().collect();
        let answer = request(&served.address, &format!("GET {path}"), &headers, b"")?;
        Ok((answer.status, answer.json()?))
    };
    let failed = |(_, said): &(u16, Value)| said["pipelines"][0]["code"].is_string() && said["pipelines"][1].is_null();
    let (status, said) = until(|| ask("/ready", Some(&all)), failed)?;
    ensure!(status == 503 && said["status"] == "not ready", "{said}");
    let missing = &said["pipelines"][0];
    ensure!(missing["name"] == "wrong" && missing["code"].is_string() && missing["error"].is_string(), "{said}");
    // Who may not know of it is told that there is something, and who shows nothing a word.
    ensure!(ask("/ready", Some(&some))? == (503, json!({"status": "not ready"})));
    ensure!(ask("/ready", None)? == (503, json!({"status": "not ready"})));
    ensure!(ask("/ready", Some("Bearer wrong"))? == (503, json!({"status": "not ready"})));
    ensure!(ask("/health", None)? == (200, json!({"status": "up"})));
    served.stop()?;

    fs::remove_file(site.path().join("specs/wrong.yaml"))?;
    let served = Served::start(&site, &[&specs])?;
    let ask = |path: &str| {
        let answer = served.get(path)?;
        Ok((answer.status, answer.json()?))
    };
    let (status, said) = until(|| ask("/ready"), |(status, _)| *status == 200)?;
    ensure!(status == 200 && said == json!({"status": "ready"}), "{said}");
    // The store is gone, and comes back.
    let away = site.path().join("away");
    fs::rename(&site.store, &away)?;
    let (status, said) = until(|| ask("/ready"), |(status, said)| *status == 503 && said["store"].is_string())?;
    ensure!(status == 503 && said["store"].is_string(), "{said}");
    ensure!(!said.to_string().contains(&site.store), "it tells where the store is: {said}");
    ensure!(ask("/health")? == (200, json!({"status": "up"})));
    if fs::exists(&site.store)? {
        fs::remove_dir_all(&site.store)?;
    }
    fs::rename(&away, &site.store)?;
    let (_, said) = until(|| ask("/ready"), |(_, said)| said["store"].is_null())?;
    ensure!(said["store"].is_null(), "{said}");
    Ok(())
}
