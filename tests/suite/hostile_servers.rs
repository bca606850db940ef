//! Every connector against servers that say nothing, a little for ever, something without an end, or nothing that makes sense.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{
    Site,
    bad_server::{KINDS, KNOWN, Manner, listen, tell},
    daemon::free_port,
    tls,
};

const SECRET: &str = "s3cret-of-the-server";
/// A pipeline that is honest, over a directory that gets files.
const NEIGHBOUR: &str = "pipeline: {name: good}
producer: {stream: {plugin: files, topic: in}, decoder: {type: json}}
grants: {files: {dirs: {in: ./in}}}
commit: {flush: {rows: 1}}
---
";
/// Longest wait for what takes ten seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host of which standard error is read all the time, line by line. It is killed when this goes.
struct Host {
    child: Child,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Host {
    fn start(site: &Site, args: &[&str]) -> Result<Self> {
        let mut child = site.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stderr.take().context("standard error")?).lines();
        let said = Arc::<(Mutex<Vec<String>>, Condvar)>::default();
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                heard.1.notify_all();
            }
        });
        Ok(Self { child, said })
    }

    /// Waits until what was said is `enough`; it is told what is missing where that does not come.
    fn until(&self, mut enough: impl FnMut(&[String]) -> Result<(), String>) -> Result<()> {
        let begun = Instant::now();
        let mut lines = self.said.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Err(missing) = enough(&lines) {
            ensure!(begun.elapsed() < PATIENCE, "{missing}:\n{}", lines.join("\n"));
            let waited = self.said.1.wait_timeout(lines, Duration::from_secs(1));
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn said(&self) -> String {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Peak of memory, in MiB.
    fn peak(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// Asks it to stop; how long that took.
    fn stop(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(asked.success(), "kill failed");
        let status = self.child.wait()?;
        ensure!(status.code().is_some(), "it ended by {status}");
        Ok(begun.elapsed())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The pipelines of one connector at servers of each manner, with their addresses by name.
fn specs(pipelines: &mut BTreeMap<String, (&'static str, String)>) -> Result<String> {
    let mut all = Vec::new();
    for (kind, manner) in KINDS.iter().flat_map(|kind| Manner::ALL.map(|manner| (kind, manner))) {
        let address = listen(move |client| kind.serve(manner, client))?;
        let (plugin, stream) = (kind.plugin, kind.stream.replace("ADDRESS", &address));
        let name = format!("{plugin}-{}", manner.name());
        // Only some need it; all have it.
        let secrets = "secrets: {password: {env: SPOUT_TEST_SECRET}, key: {env: SPOUT_TEST_SECRET}}";
        all.push(format!(
            "pipeline: {{name: {name}}}\nproducer: {{stream: {stream}, decoder: {{type: raw}}}}\n\
             grants: {{{plugin}: {{net: [\"{address}\"], endpoints: {{server: {{address: \"{address}\"}}}}, {secrets}}}}}\n"
        ));
        pipelines.insert(name, (plugin, address));
    }
    Ok(all.join("---\n"))
}

/// What is in the way of a pipeline, as whoever asks is told; none where nothing is.
fn status(site: &Site, name: &str) -> Result<Option<Value>> {
    let about = site.json(&["pipeline", "status", name])?.remove(0);
    let stands = ["failing", "waiting-to-restart", "failed", "running", "starting"];
    ensure!(about["condition"].as_str().is_some_and(|condition| stands.contains(&condition)), "{about}");
    Ok(about["error"].is_string().then_some(about))
}

#[test]
fn no_server_keeps_a_connector_waiting_and_each_is_told_of() -> Result<()> {
    let mut site = Site::new()?;
    site.environment.push(("SPOUT_TEST_SECRET", SECRET.into()));
    let mut pipelines = BTreeMap::new();
    site.write("spec.yaml", NEIGHBOUR.to_owned() + &specs(&mut pipelines)?)?;
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    let begun = Instant::now();
    let mut host = Host::start(&site, &["run", "spec.yaml"])?;
    // The log says of each what is wrong, where, and whose it is.
    host.until(|lines| {
        let told = |name: &str, address: &str| {
            let whose = [format!("pipeline=\"{name}\""), format!("pipeline `{name}`")];
            lines.iter().any(|line| line.contains(address) && whose.iter().any(|whose| line.contains(whose)))
        };
        let silent: Vec<_> =
            pipelines.iter().filter(|(name, (_, address))| !told(name, address)).map(|(name, _)| name).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("nothing is said of {silent:?}")) }
    })?;
    println!("{} connectors at bad servers were told of after {:?}", pipelines.len(), begun.elapsed());
    // A few of each connector: each question is a process.
    let asked = |name: &str| name.ends_with("-silent") || name.ends_with("-garbage");
    for (name, (plugin, address)) in pipelines.iter().filter(|(name, _)| asked(name)) {
        let about = loop {
            ensure!(begun.elapsed() < PATIENCE, "the status of {name} has no error");
            if let Some(about) = status(&site, name)? {
                break about;
            }
        };
        let error = about["error"].as_str().context("an error")?;
        ensure!(error.contains(address.as_str()) && error.contains(plugin), "{name}: {error}");
    }
    // The neighbour goes on.
    site.write("in/b.ndjson", "{\"n\":2}\n")?;
    while site.number("select count(*) from good", None).unwrap_or(0) < 2 {
        ensure!(begun.elapsed() < PATIENCE, "the neighbour stands still");
    }
    let (most, took) = (host.peak()?, host.stop()?);
    println!("it had {most} MiB at most, and took {took:?} to stop");
    ensure!(took < Duration::from_secs(15), "{took:?}");
    let said = host.said();
    ensure!(!said.contains(SECRET) && !said.contains("panick"), "{said}");
    let nameless = said.lines().find(|line| line.contains(" WARN ") && !line.contains("pipeline="));
    ensure!(nameless.is_none(), "{nameless:?} names no pipeline");
    Ok(())
}

/// A server may send back what it was told.
#[test]
fn no_server_has_a_connector_say_who_it_is() -> Result<()> {
    const SAID: &str = "s3cret, \"quoted\" to be";
    let mut site = Site::new()?;
    site.environment.push(("SPOUT_TEST_SECRET", SAID.into()));
    let (mut all, mut names) = (Vec::new(), Vec::new());
    for (number, (plugin, stream)) in KNOWN.iter().enumerate() {
        let address = listen(move |client| tell(plugin, SAID, client))?;
        let name = format!("{plugin}-{number}");
        let secrets = ["password", "key", "token"].map(|name| format!("{name}: {{env: SPOUT_TEST_SECRET}}")).join(", ");
        all.push(format!(
            "pipeline: {{name: {name}}}\nproducer: {{stream: {}, decoder: {{type: raw}}}}\n\
             grants: {{{plugin}: {{endpoints: {{server: {{address: \"{address}\"}}}}, net: [\"{address}\"], secrets: {{{secrets}}}}}}}\n",
            stream.replace("ADDRESS", &address)
        ));
        names.push(name);
    }
    site.write("spec.yaml", NEIGHBOUR.to_owned() + &all.join("---\n"))?;
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    let mut host = Host::start(&site, &["run", "spec.yaml"])?;
    host.until(|lines| {
        let told = |name: &&String| {
            let whose = format!("pipeline `{name}`");
            lines.iter().any(|line| line.contains(&whose) && line.contains("[secret]"))
        };
        let silent: Vec<_> = names.iter().filter(|name| !told(name)).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("{silent:?} say nothing of a secret")) }
    })?;
    let mut said = String::new();
    for name in &names {
        let output = site.run(&["pipeline", "status", name, "--json"])?;
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&site.run(&["logs", name])?.stdout);
    }
    ensure!(said.contains("[secret]"), "{said}");
    host.stop()?;
    said += &host.said();
    // The base64 of "u:" and the beginning of it, and how it begins otherwise.
    for part in ["s3cret", "dTpzM2"] {
        let line = said.lines().find(|line| line.contains(part));
        ensure!(line.is_none(), "{line:?}");
    }
    Ok(())
}

/// Where an endpoint has TLS, neither a server without it nor one that nobody vouches for gets a byte of the plugin's.
#[test]
fn no_connector_goes_on_where_tls_fails() -> Result<()> {
    let mut site = Site::new()?;
    site.environment.push(("SPOUT_TEST_SECRET", SECRET.into()));
    tls::certificate(site.path())?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let behind = Arc::clone(&heard);
    let inner = listen(move |mut client| {
        let mut all = Vec::new();
        // What comes through TLS would end here.
        drop(client.read_to_end(&mut all));
        behind.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
    })?;
    let port = free_port()?;
    let inner = inner.rsplit(':').next().context("a port")?.parse()?;
    let _relay = tls::relay(site.path(), port, inner)?;
    let (mut all, mut names) = (Vec::new(), Vec::new());
    for kind in &KINDS {
        // Two ask for TLS in the clear first.
        let plain: &[u8] = match kind.plugin {
            "nats" => b"INFO {\"headers\":true,\"tls_required\":true}\r\n",
            "postgres" => b"S",
            _ => b"",
        };
        let without = listen(move |mut client| {
            drop(client.write_all(plain));
            let mut hello = [0; 1024];
            while client.read(&mut hello).is_ok_and(|read| read > 0) && client.write_all(b"no TLS here\r\n").is_ok() {}
        })?;
        let mut servers = vec![("without", without)];
        if plain.is_empty() {
            servers.push(("unknown", format!("127.0.0.1:{port}")));
        }
        for (what, address) in servers {
            let (plugin, name) = (kind.plugin, format!("{}-{what}", kind.plugin));
            let stream = kind.stream.replace("http://ADDRESS", "https://ADDRESS").replace("ADDRESS", &address);
            let secrets = "secrets: {password: {env: SPOUT_TEST_SECRET}, key: {env: SPOUT_TEST_SECRET}}";
            all.push(format!(
                "pipeline: {{name: {name}}}\nproducer: {{stream: {stream}, decoder: {{type: raw}}}}\n\
                 grants: {{{plugin}: {{endpoints: {{server: {{address: \"{address}\", tls: true}}}}, {secrets}}}}}\n"
            ));
            names.push((name, address));
        }
    }
    site.write("spec.yaml", NEIGHBOUR.to_owned() + &all.join("---\n"))?;
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    let mut host = Host::start(&site, &["run", "spec.yaml"])?;
    host.until(|lines| {
        let told = |(name, address): &&(String, String)| {
            let about =
                |line: &&String| line.contains(&format!("pipeline `{name}`")) && line.contains(address.as_str());
            lines.iter().filter(about).any(|line| line.contains("TLS") || line.contains("certificate"))
        };
        let silent: Vec<_> = names.iter().filter(|one| !told(one)).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("{silent:?} say nothing of TLS")) }
    })?;
    host.stop()?;
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
    let said = host.said();
    ensure!(!said.contains(SECRET), "{said}");
    Ok(())
}
