//! The plugin `kafka` against a broker that asks who is there, that is gone for long, that falls silent, and that is killed.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Running, Site,
    daemon::free_port,
    moto::{Door, Moto},
    tansu::Tansu,
    tls,
};

const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "s3cret, \"quoted\"";

/// A pipeline of the name of its topic.
fn spec(topic: &str, address: &str, settings: &str, grants: &str) -> String {
    format!(
        "pipeline: {{name: {topic}}}
producer:
  stream:
    plugin: kafka
    topic: {topic}
    fetch: {{timeout: 100ms}}
    settings: {{bootstrap.servers: \"{address}\", request.timeout.ms: 500{settings}}}
  decoder: {{type: raw}}
grants: {{kafka: {{{grants}}}}}
commit: {{flush: {{time: 50ms}}}}
"
    )
}

/// A broker that keeps what it has, and the service that it keeps it in.
fn kept() -> Result<Option<(Moto, Tansu)>> {
    let Some(moto) = Moto::start(Door::Open, &["tansu"])? else { return Ok(None) };
    Ok(Tansu::kept(&moto)?.map(|tansu| (moto, tansu)))
}

/// Waits until so many rows are committed.
fn until_there_are(site: &Site, run: &mut Running, topic: &str, rows: u64) -> Result<()> {
    let (count, begun) = (format!("select count(*) from {topic}"), Instant::now());
    while site.number(&count, None).unwrap_or(0) < rows {
        ensure!(begun.elapsed() < PATIENCE, "{} rows of {rows}", site.number(&count, None).unwrap_or(0));
        run.wait_for("committed")?.context("it ended")?;
    }
    Ok(())
}

fn each_once(site: &Site, topic: &str, rows: u64) -> Result<()> {
    for what in ["count(*)", "count(distinct value)"] {
        let found = site.number(&format!("select {what} from {topic}"), None)?;
        ensure!(found == rows, "{what} is {found}, not {rows}");
    }
    Ok(())
}

/// This broker forgets its users when it starts again, so that it lets somebody in is shown by the plugin's own tests.
#[test]
fn a_broker_is_reached_by_tls_and_not_otherwise_and_asks_who_is_there() -> Result<()> {
    let port = free_port()?;
    let address = format!("localhost:{port}");
    let Some((_moto, mut tansu)) = kept()? else { return Ok(()) };
    let mut site = Site::new()?;
    tls::own_certificate(site.path())?;
    tansu.ask("make", &["guarded".into(), 1.into()])?;
    tansu.ask("fill", &["guarded".into(), 1.into(), 0.into(), 100.into()])?;
    tansu.kill()?;
    tansu.advertise(&address);
    tansu.again(&[])?;
    let _relay = tls::relay(site.path(), port, tansu.port())?;
    site.environment.push(("SPOUT_TEST_KAFKA", PASSWORD.into()));
    let net = format!("net: [\"{address}\", \"127.0.0.1:{port}\"], secrets: {{password: {{env: SPOUT_TEST_KAFKA}}}}");
    let endpoint = |tls: &str| format!("endpoints: {{broker: {{address: \"{address}\", tls: {tls}}}}}, {net}");
    let run = ["run", "spec.yaml", "--until", "idle"];
    let secure = ", security.protocol: SSL";
    // An authority that has not signed, and a grant that has no TLS.
    for (grants, part) in [(endpoint("true"), "net.tls"), (net.clone(), "kafka.tls")] {
        site.write("spec.yaml", spec("guarded", &address, secure, &grants))?;
        site.fails(&run, 1, &[part])?;
    }
    site.write("spec.yaml", spec("guarded", &address, secure, &endpoint("{ca: chain.pem}")))?;
    site.ok(&run)?;
    each_once(&site, "guarded", 100)?;
    tansu.kill()?;
    tansu.again(&["--authentication"])?;
    let sasl = ", security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-256, sasl.username: nobody";
    site.write("spec.yaml", spec("guarded", &address, sasl, &endpoint("{ca: chain.pem}")))?;
    let said = site.fails(&run, 1, &["scram.refused", "unknown-user"])?;
    ensure!(!said.contains(PASSWORD), "{said}");
    Ok(())
}

/// What asks is the package scramp: another implementation of SCRAM than the host's.
#[test]
fn another_implementation_lets_us_in_by_password_and_not_by_another() -> Result<()> {
    let Some((mut tansu, door)) = Tansu::asking("reader", PASSWORD)? else { return Ok(()) };
    tansu.ask("make", &["asked".into(), 1.into()])?;
    tansu.ask("fill", &["asked".into(), 1.into(), 0.into(), 100.into()])?;
    let address = door.address();
    // A secret is written to an endpoint, and to nothing else.
    let grants = format!(
        "endpoints: {{broker: {{address: \"{address}\"}}}}, net: [\"{address}\"], secrets: {{password: {{env: SPOUT_TEST_KAFKA}}}}"
    );
    let run = ["run", "spec.yaml", "--until", "idle"];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut site = Site::new()?;
        let settings = |user: &str| format!(", sasl.mechanism: {mechanism}, sasl.username: {user}");
        for (user, password) in [("reader", "another"), ("nobody", PASSWORD)] {
            site.environment = vec![("SPOUT_TEST_KAFKA", password.into())];
            site.write("spec.yaml", spec("asked", &address, &settings(user), &grants))?;
            let said = site.fails(&run, 1, &["kafka.sasl"])?;
            ensure!(!said.contains(password), "{said}");
        }
        site.environment = vec![("SPOUT_TEST_KAFKA", PASSWORD.into())];
        site.write("spec.yaml", spec("asked", &address, &settings("reader"), &grants))?;
        site.ok(&run)?;
        each_once(&site, "asked", 100)?;
    }
    let site = Site::new()?;
    site.write("spec.yaml", spec("asked", &address, "", &grants.replace("SPOUT_TEST_KAFKA", "PATH")))?;
    site.fails(&run, 1, &["kafka."]).map(drop)
}

/// Nobody is reached for as long as it takes until attempts are far apart; then somebody is, and after that falls silent.
#[test]
fn a_broker_that_is_gone_for_long_or_falls_silent_is_waited_for() -> Result<()> {
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    tansu.ask("make", &["gone".into(), 2.into()])?;
    tansu.ask("fill", &["gone".into(), 2.into(), 0.into(), 1000.into()])?;
    let (site, address) = (Site::new()?, tansu.proxy.address());
    site.write("spec.yaml", spec("gone", &address, "", &format!("net: [\"{address}\"]")))?;
    let mut run = site.start(&["run", "spec.yaml"])?;
    until_there_are(&site, &mut run, "gone", 1000)?;
    let mut said = BufReader::new(run.child.stderr.take().context("standard error")?);
    tansu.proxy.down();
    let (mut line, mut longest) = (String::new(), Duration::ZERO);
    while longest < Duration::from_secs(2) {
        line.clear();
        ensure!(said.read_line(&mut line)? > 0, "it ended");
        if let Some((_, pause)) = line.split_once("\"pause\":\"") {
            longest = longest.max(seconds(pause.split('"').next().unwrap_or_default()).context("a pause")?);
        }
    }
    thread::spawn(move || drop(said.read_to_end(&mut Vec::new())));
    tansu.proxy.up();
    tansu.ask("fill", &["gone".into(), 2.into(), 1000.into(), 1000.into()])?;
    until_there_are(&site, &mut run, "gone", 2000)?;
    // Connections that are open, and over which nothing comes any more.
    tansu.proxy.swallow(true);
    let before = tansu.proxy.accepted();
    let begun = Instant::now();
    while tansu.proxy.accepted() < before + 2 {
        ensure!(begun.elapsed() < PATIENCE, "it did not give a silent connection up");
        thread::park_timeout(Duration::from_millis(5));
    }
    tansu.proxy.swallow(false);
    tansu.ask("fill", &["gone".into(), 2.into(), 2000.into(), 1000.into()])?;
    until_there_are(&site, &mut run, "gone", 3000)?;
    run.signal("TERM")?;
    ensure!(run.end()?.0, "it stops well");
    each_once(&site, "gone", 3000)
}

/// As the log writes a time: `1.5s`, `250ms`.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse::<f64>().ok().map(|ms| Duration::from_secs_f64(ms / 1000.0));
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs_f64)
}

/// The broker is killed, and the host with it, while messages are read.
#[test]
fn kills_of_broker_and_host_neither_lose_nor_double_a_message() -> Result<()> {
    const ROUNDS: u64 = 10;
    const EACH: u64 = 2000;
    let Some((_moto, mut tansu)) = kept()? else { return Ok(()) };
    tansu.ask("make", &["both".into(), 4.into()])?;
    let (site, address) = (Site::new()?, tansu.proxy.address());
    let spec = spec("both", &address, "", &format!("net: [\"{address}\"]"));
    site.write(
        "spec.yaml",
        spec.replace("timeout: 100ms", "messages: 100, timeout: 100ms").replace("time: 50ms", "rows: 300, time: 20ms"),
    )?;
    let mut behind = 0;
    for round in 0..ROUNDS {
        tansu.ask("fill", &["both".into(), 4.into(), (round * EACH).into(), EACH.into()])?;
        let mut run = site.start(&["run", "spec.yaml"])?;
        run.wait_for("committed")?.context("a commit")?;
        tansu.kill()?;
        if round % 2 == 0 {
            run.child.kill()?;
        }
        tansu.again(&[])?;
        if round % 2 == 1 {
            run.wait_for("committed")?.context("a commit after the broker came back")?;
            run.child.kill()?;
        }
        run.end()?;
        behind += u64::from(site.number("select count(*) from both", None).unwrap_or(0) < (round + 1) * EACH);
    }
    ensure!(behind >= ROUNDS / 2, "{behind} of {ROUNDS} kills came before all was read: they show nothing");
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    each_once(&site, "both", ROUNDS * EACH)?;
    println!("{} messages, {ROUNDS} kills of each, {behind} before all was read", ROUNDS * EACH);
    site.ok(&["fsck"]).map(drop)
}
