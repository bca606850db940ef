//! Network grants, environments and services, as a user meets them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Running, Site, guests, tls::certificate};

/// A place with the guest that tries whatever the network has.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    let from = guests().join("network.wasm");
    fs::copy(&from, dir.join("network.wasm"))
        .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    site.plugins = dir;
    Ok(site)
}

fn spec(offer: &str, deeds: &[&str], rest: &str) -> Result<String> {
    let deeds = serde_json::to_string(deeds)?;
    Ok(format!(
        "pipeline: {{name: trial}}
producer:
  stream: {{plugin: network/{offer}, topic: t, consumerType: highlevel, settings: {{deeds: {deeds}}}}}
  decoder: {{type: raw}}
{rest}
"
    ))
}

fn outcomes(site: &Site) -> Result<Vec<String>> {
    site.rows("select cast(value as varchar) as deed from trial", None)
}

const ALL: &str = "grants:
  network:
    dirs: {data: ./data}
    net: [\"*.example.com:443\"]
    listen: [8000]
    env: {KEY: {env: SPOUT_TEST_KEY}, TOPIC: events}
";

#[test]
fn what_a_plugin_asks_for_stands_beside_what_it_is_granted() -> Result<()> {
    let mut site = site()?;
    fs::create_dir(site.path().join("data"))?;
    site.write("spec.yaml", spec("asking", &[], "")?)?;
    let add = r#"grants: {network: {dirs: {data: ./data}, net: ["HOST:PORT", "api.example.com:443"], listen: [8000], env: {KEY: VALUE}}}"#;
    for verb in [&["check", "spec.yaml"][..], &["run", "spec.yaml", "--until", "ended"]] {
        site.fails(verb, 2, &["E0216", add])?;
    }
    site.write("spec.yaml", spec("asking", &[], ALL)?)?;
    site.fails(&["check", "spec.yaml"], 2, &["E0231", "KEY", "SPOUT_TEST_KEY is not set"])?;
    site.environment.push(("SPOUT_TEST_KEY", "s3cret-value".into()));
    let checked = site.ok(&["check", "spec.yaml"])?;
    for part in [
        "connections to `api.example.com:443`",
        "listening at port 8000",
        "the environment variable `KEY`",
        "network: connections to *.example.com:443",
        "network: listening at loopback, port 8000",
        "network: the environment variable KEY, a secret, from the environment variable SPOUT_TEST_KEY",
        "network: the environment variable TOPIC, `events`",
    ] {
        ensure!(checked.contains(part), "{part:?} is not in\n{checked}");
    }
    let inspected = site.ok(&["plugin", "inspect", "network"])?;
    ensure!(
        inspected.contains(
            "asks for connections to `api.example.com:443`: grants: {network: {net: [\"api.example.com:443\"]}}"
        ),
        "{inspected}"
    );
    for said in [checked, site.ok(&["check", "spec.yaml", "--json"])?] {
        ensure!(!said.contains("s3cret-value"), "{said}");
    }
    Ok(())
}

/// Whether `text` is in a file below `dir`.
fn holds(dir: &Path, text: &str) -> Result<bool> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            holds(&path, text)?
        } else {
            fs::read(&path)?.windows(text.len()).any(|bytes| bytes == text.as_bytes())
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_denial_says_what_to_grant_and_a_secret_is_nowhere() -> Result<()> {
    let mut site = site()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let connect = format!("connect {address}");
    let deeds = [connect.as_str(), connect.as_str(), "connect localhost:80", "listen 0.0.0.0:8000", "udp"];
    site.environment.push(("SPOUT_TEST_KEY", "s3cret-value".into()));
    let env = "grants: {network: {env: {KEY: {env: SPOUT_TEST_KEY}}}}";
    site.write("spec.yaml", spec("deeds", &deeds, env)?)?;
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    for (grant, times) in [
        (format!("{{net: [\"{address}\"]}}"), 1),
        ("{net: [\"localhost:PORT\"]}".into(), 1),
        ("{listen: [\"0.0.0.0:8000\"]}".into(), 1),
        ("no grant allows it".into(), 1),
        ("E0230".into(), 4),
        ("s3cret-value".into(), 0),
    ] {
        ensure!(said.matches(&grant).count() == times, "{grant} {times} times in\n{said}");
    }
    ensure!(!holds(Path::new(&site.store), "s3cret-value")?, "the store holds the secret");
    let denied = outcomes(&site)?;
    ensure!(denied.iter().filter(|deed| deed.contains("PermissionDenied")).count() == 4, "{denied:?}");
    // With the grant that was printed, the same goes through.
    let grant = format!("grants: {{network: {{net: [\"{address}\"], env: {{KEY: {{env: SPOUT_TEST_KEY}}}}}}}}");
    site.write("spec.yaml", spec("deeds", &[deeds.as_slice(), &[&connect, "env KEY"]].concat(), &grant)?)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let all = outcomes(&site)?;
    ensure!(all.iter().any(|deed| deed.contains(&format!("{connect}: connected"))), "{all:?}");
    ensure!(all.iter().any(|deed| deed.contains("env KEY: s3cret-value")), "{all:?}");
    Ok(())
}

/// A pipeline that is a service; its plugin listens at port 8000, as that of every other does.
fn service(name: &str, more: &str) -> String {
    format!(
        "pipeline: {{name: {name}}}
spout: {{service: {{internalPort: 8000, externalPort: 0{more}}}}}
producer:
  stream: {{plugin: network/lines, topic: t, consumerType: highlevel, settings: {{port: 8000}}}}
  decoder: {{type: json, schema: {{n: int64}}}}
commit: {{flush: {{time: 100ms}}}}
"
    )
}

/// Where the pipelines of a run listen, by name.
fn addresses(run: &mut Running, names: &[&str]) -> Result<Vec<String>> {
    let mut found: Vec<(String, String)> = Vec::new();
    while found.len() < names.len() {
        let update = run.wait_for("listening")?.context("it ended before it listened")?;
        let text = |key: &str| update.get(key).and_then(Value::as_str).map(str::to_owned).context("a text");
        found.push((text("pipeline")?, text("address")?));
    }
    let of = |name: &&str| found.iter().find(|(pipeline, _)| pipeline == name).map(|(_, address)| address.clone());
    names.iter().map(|name| of(name).context("an address")).collect()
}

/// Waits until so many rows are committed: what a plugin has answered is not stored yet.
fn committed(site: &Site, pipeline: &str, rows: u64) -> Result<()> {
    let count = || site.number(&format!("select count(*) from {pipeline}"), None).unwrap_or(0);
    for _ in 0..300 {
        if count() >= rows {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(count() == rows, "{pipeline} has {} rows, not {rows}", count());
    Ok(())
}

/// Sends lines, ends sending, and takes what comes back until the other side ends too.
fn send(address: &str, numbers: std::ops::Range<u32>) -> Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let lines: String = numbers.map(|n| format!("{{\"n\": {n}}}\n")).collect();
    stream.write_all(lines.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    Ok(answers.lines().count())
}

#[test]
fn what_clients_send_to_a_service_is_committed_and_answered() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", format!("{}---\n{}", service("left", ""), service("right", "")))?;
    let mut run = site.start(&["run", "spec.yaml"])?;
    let found = addresses(&mut run, &["left", "right"])?;
    // Both plugins listen at the same port of theirs, and each gets its own.
    let clients: Vec<_> = (0..20_u32)
        .map(|client| {
            let address = found[(client % 2) as usize].clone();
            thread::spawn(move || send(&address, client * 100..client * 100 + 100))
        })
        .collect();
    for client in clients {
        let answered = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        ensure!(answered == 100, "{answered} answers");
    }
    committed(&site, "left", 1000)?;
    committed(&site, "right", 1000)?;
    run.signal("TERM")?;
    let (fine, errors) = run.end()?;
    ensure!(fine, "{errors}");
    for (name, parity) in [("left", 0), ("right", 1)] {
        let distinct = format!("select count(distinct n) from {name} where (n / 100) % 2 = {parity}");
        ensure!(site.number(&distinct, None)? == 1000, "{name} has rows of the other");
    }
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_service_takes_so_many_clients_and_an_idle_one_costs_only_its_place() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", service("left", ", maxClients: 2"))?;
    let mut run = site.start(&["run", "spec.yaml"])?;
    let address = addresses(&mut run, &["left"])?.remove(0);
    let mut idle = TcpStream::connect(&address)?;
    idle.write_all(b"{\"n\"")?;
    let mut busy = BufReader::new(TcpStream::connect(&address)?);
    busy.get_mut().write_all(b"{\"n\": 1}\n")?;
    let mut answer = String::new();
    busy.read_line(&mut answer)?;
    ensure!(answer == "1\n", "{answer:?}");
    // The third one is closed; when another has gone, there is a place again.
    let mut third = TcpStream::connect(&address)?;
    third.set_read_timeout(Some(Duration::from_secs(30)))?;
    ensure!(matches!(third.read(&mut [0]), Ok(0) | Err(_)), "the third client was served");
    drop(busy);
    let mut served = 0;
    for _ in 0..100 {
        served = send(&address, 5..6).unwrap_or(0);
        if served == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(served == 1, "no place became free");
    committed(&site, "left", 2)?;
    run.signal("TERM")?;
    let (fine, errors) = run.end()?;
    ensure!(fine && errors.contains("maxClients"), "{errors}");
    drop(idle);
    Ok(())
}

#[test]
fn a_service_needs_a_plugin_and_a_free_port() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", "pipeline: {name: p}\nspout: {service: {internal_port: 8000, external_port: 0}}\nproducer: {stdin: {}, decoder: {type: json}}\n")?;
    site.fails(&["check", "spec.yaml"], 2, &["E0110", "spout.service", "no plugin"])?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    site.write("spec.yaml", service("left", "").replace("externalPort: 0", &format!("externalPort: {port}")))?;
    site.ok(&["check", "spec.yaml"])?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &["E0330", "service", &format!("127.0.0.1:{port}")])?;
    Ok(())
}

/// A service whose answer names the commit that holds what it answers.
const LEDGER: &str = "pipeline: {name: kept}
transform: {plugin: network/ledger}
spout: {service: {internalPort: 8000, externalPort: 0}}
";

#[test]
fn what_a_spout_answers_after_it_has_finished_is_there_whatever_happens_then() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", LEDGER)?;
    for line in ["one", "two"] {
        let mut run = site.start(&["run", "spec.yaml"])?;
        let address = addresses(&mut run, &["kept"])?.remove(0);
        let mut client = BufReader::new(TcpStream::connect(&address)?);
        client.get_mut().set_read_timeout(Some(Duration::from_secs(30)))?;
        client.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        client.read_line(&mut answer)?;
        run.child.kill()?;
        let at = format!("kept@{}:/lines.txt", answer.trim());
        let kept = site.ok(&["get", "file", &at])?;
        ensure!(kept.lines().last() == Some(line), "{answer}: {kept}");
        run.end()?;
    }
    ensure!(site.ok(&["get", "file", "kept@master:/lines.txt"])? == "one\ntwo\n");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_service_talks_tls_and_asks_for_its_token_and_the_plugin_sees_neither() -> Result<()> {
    let mut site = site()?;
    certificate(site.path())?;
    site.environment.push(("DOOR", "s3cret".to_owned()));
    let (tls, token) = (", cert: chain.pem, key: key.pem", ", token: {env: DOOR}");
    site.write("spec.yaml", format!("{}---\n{}", service("left", token), service("right", &format!("{tls}{token}"))))?;
    let said = site.ok(&["check", "spec.yaml"])?;
    ensure!(said.contains("over TLS, with the token"), "{said}");
    // Without it, nobody finds out only when a client comes.
    let door = site.environment.pop();
    for verb in ["check", "run"] {
        site.fails(&[verb, "spec.yaml"], 2, &["spout.service.token", "DOOR"])?;
    }
    site.environment.extend(door);
    let mut run = site.start(&["run", "spec.yaml"])?;
    let found = addresses(&mut run, &["left", "right"])?;
    let ask = |text: &str| -> Result<String> {
        let mut stream = TcpStream::connect(&found[0])?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(text.as_bytes())?;
        let mut answer = String::new();
        // One that is refused may be told by a reset.
        stream
            .shutdown(Shutdown::Write)
            .and_then(|()| stream.read_to_string(&mut answer))
            .map(drop)
            .unwrap_or_default();
        Ok(answer)
    };
    ensure!(ask("{\"n\": 1}\n{\"n\": 2}\n")?.is_empty(), "a client without the token was served");
    ensure!(ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?.starts_with("HTTP/1.1 401 "));
    ensure!(ask("s3cret\n{\"n\": 3}\n")? == "1\n", "the line after the token is the first message");
    let over_tls = |input: &str| -> Result<String> {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", "chain.pem", "-connect", &found[1]])
            .current_dir(site.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = client.stdin.take().context("standard input")?;
        stdin.write_all(input.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(client.stdout.take().context("standard output")?).read_line(&mut answer)?;
        client.kill()?;
        client.wait()?;
        Ok(answer)
    };
    ensure!(over_tls("s3cret\n{\"n\": 4}\n")? == "1\n", "over TLS");
    ensure!(over_tls("{\"n\": 5}\n")?.is_empty(), "over TLS, without the token");
    committed(&site, "left", 1)?;
    committed(&site, "right", 1)?;
    run.signal("TERM")?;
    let (fine, errors) = run.end()?;
    ensure!(fine && !errors.contains("s3cret"), "{errors}");
    site.write("spec.yaml", service("left", ", cert: chain.pem"))?;
    site.fails(&["check", "spec.yaml"], 2, &["error[E0110]", "`cert` without `key`"])?;
    site.write("spec.yaml", service("left", ", cert: key.pem, key: chain.pem"))?;
    site.fails(&["run", "spec.yaml"], 2, &["error[E0915]", "chain.pem"]).map(drop)
}
