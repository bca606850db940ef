//! Peers that nobody has let in yet: crowds, those who never finish what they began, and those who read nothing.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Running, Site,
    http::{Answer, connect, read, request},
    served::Served,
    tls::certificate,
};

const CROWD: &str = include_str!("../support/crowd.py");
const PATIENCE: Duration = Duration::from_secs(30);
const HALF: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\nx-half: ";

/// A place where nothing may have more files open than is usual.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    site.open_files = Some(1024);
    Ok(site)
}

fn spec(name: &str, producer: &str, rest: &str) -> String {
    format!("pipeline: {{name: {name}}}\nproducer:\n  {producer}\n  decoder: {{type: raw}}\n{rest}\n")
}

/// Starts `spout run SPECS`; where they listen, `ports` addresses by pipeline in the order of `specs`.
fn listening(site: &Site, specs: &[&str], ports: usize) -> Result<(Running, Vec<String>)> {
    let names: Vec<_> = specs.iter().map(|name| format!("{name}.yaml")).collect();
    let mut run = site.start(&["run"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>())?;
    let mut addresses = Vec::new();
    while addresses.len() < ports {
        let Some(update) = run.wait_for("listening")? else {
            anyhow::bail!("it ended before it listened: {}", run.end()?.1);
        };
        let place = specs.iter().position(|name| update["pipeline"] == *name);
        addresses.push((place, update["address"].as_str().context("an address")?.replace("tcp://", "")));
    }
    addresses.sort_by_key(|(place, _)| *place);
    Ok((run, addresses.into_iter().map(|(_, address)| address).collect()))
}

fn post(address: &str, body: &[u8]) -> Result<Answer> {
    request(address, "POST /", &[("content-type", "text/plain")], body)
}

/// Whether the other side has closed `stream`.
fn closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        // Nothing came in time: it is still there.
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

fn stopped(run: Running) -> Result<()> {
    run.signal("TERM")?;
    let (fine, errors) = run.end()?;
    ensure!(fine, "{errors}");
    Ok(())
}

/// What process `id` has in memory, in MiB, and has had at most.
fn memory(id: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"));
        anyhow::Ok(line.with_context(|| format!("no {name}"))?.trim().parse::<u64>()? >> 10)
    };
    Ok((line("VmRSS:")?, line("VmHWM:")?))
}

/// Connections from a process that may have many.
struct Crowd(Child);

impl Crowd {
    fn at(address: &str, count: u32) -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", CROWD, address, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let there = child.stdout.as_mut().context("a pipe")?.read(&mut [0; 5])?;
        ensure!(there == 5, "the crowd could not come");
        Ok(Self(child))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn a_crowd_with_half_heads_leaves_the_port_of_another_pipeline_alone() -> Result<()> {
    let site = site()?;
    let http = "http: {listen: '127.0.0.1:0'}";
    site.write("a.yaml", spec("a", http, ""))?;
    site.write("b.yaml", spec("b", http, ""))?;
    let (run, addresses) = listening(&site, &["a", "b"], 2)?;
    let crowd = Crowd::at(&addresses[0], 1100)?;
    for body in 0..20 {
        let answer = post(&addresses[1], format!("{body}\n").as_bytes())?;
        ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    // Of a crowd that is refused, most are just closed.
    let since = Instant::now();
    let refused = loop {
        match post(&addresses[0], b"one more\n") {
            Ok(refused) => break refused,
            Err(error) => ensure!(since.elapsed() < PATIENCE, "nobody is told why: {error}"),
        }
    };
    ensure!(refused.status == 503 && refused.code() == "E0362", "{}", String::from_utf8_lossy(&refused.body));
    drop(crowd);
    ensure!(site.number("select count(*) from b", None)? == 20);
    stopped(run)
}

#[test]
fn who_does_not_finish_a_head_is_closed_and_leaves_a_place() -> Result<()> {
    let site = site()?;
    site.write("a.yaml", spec("a", "http: {listen: '127.0.0.1:0', maxConnections: 3, headTime: 1s}", ""))?;
    let (run, addresses) = listening(&site, &["a"], 1)?;
    let address = &addresses[0];
    let mut idle = (0..3).map(|_| connect(address)).collect::<Result<Vec<_>>>()?;
    idle[0].write_all(HALF)?;
    let refused = post(address, b"1\n")?;
    ensure!(refused.status == 503 && refused.code() == "E0362", "{}", refused.status);
    ensure!(refused.header("retry-after").is_some());
    ensure!(idle.iter_mut().all(closed), "the idle ones stay");
    let since = Instant::now();
    while post(address, b"2\n")?.status != 200 {
        ensure!(since.elapsed() < PATIENCE, "no place became free");
    }
    stopped(run)
}

#[test]
fn one_address_has_so_many_connections() -> Result<()> {
    let site = site()?;
    site.write("a.yaml", spec("a", "tcp: {listen: '127.0.0.1:0', reply: line, maxPerAddress: 2}", ""))?;
    let (run, addresses) = listening(&site, &["a"], 1)?;
    let _two = [connect(&addresses[0])?, connect(&addresses[0])?];
    let mut said = String::new();
    connect(&addresses[0])?.read_to_string(&mut said)?;
    ensure!(said.starts_with("error 0 too many clients"), "{said}");
    stopped(run)?;
    let served = Served::start(&site, &["--max-per-address", "2", "--head-time", "1s"])?;
    let mut two = [connect(&served.address)?, connect(&served.address)?];
    two[1].write_all(HALF)?;
    let refused = served.get("/v1/repos")?;
    ensure!(refused.status == 503 && refused.code() == "E0907", "{}", refused.status);
    ensure!(String::from_utf8_lossy(&refused.body).contains("this address has 2 connections"));
    ensure!(two.iter_mut().all(closed), "heads have a time");
    served.stop()
}

#[test]
fn a_body_is_read_only_of_those_who_may_send_it() -> Result<()> {
    let mut site = site()?;
    site.environment.push(("SPOUT_TEST_TOKEN", "s3cret".into()));
    site.write("a.yaml", spec("a", "http: {listen: '127.0.0.1:0', token: {env: SPOUT_TEST_TOKEN}}", ""))?;
    let (run, addresses) = listening(&site, &["a"], 1)?;
    let mut endless = connect(&addresses[0])?;
    endless.set_write_timeout(Some(PATIENCE))?;
    endless.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")?;
    let mut again = endless.try_clone()?;
    let answer = read(endless, true)?;
    ensure!(answer.status == 401, "{}", answer.status);
    // What follows is not read either: the connection ends.
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    let sent = (0..1000).take_while(|_| again.write_all(&chunk).is_ok()).count();
    ensure!(sent < 1000, "it reads on");
    stopped(run)
}

#[test]
fn bodies_that_never_end_hold_up_nobody() -> Result<()> {
    let site = site()?;
    site.write("a.yaml", spec("a", "http: {listen: '127.0.0.1:0'}", ""))?;
    let (run, addresses) = listening(&site, &["a"], 1)?;
    let mut endless = Vec::new();
    for _ in 0..300 {
        let mut one = connect(&addresses[0])?;
        one.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")?;
        endless.push(one);
    }
    for body in 0..20 {
        let answer = post(&addresses[0], format!("{body}\n").as_bytes())?;
        ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    drop(endless);
    stopped(run)
}

#[test]
fn a_token_in_the_clear_is_said() -> Result<()> {
    let mut site = site()?;
    site.environment.push(("SPOUT_TEST_TOKEN", "s3cret".into()));
    let check = |listen: &str, expected: bool| -> Result<()> {
        site.write(
            "a.yaml",
            spec("a", &format!("http: {{listen: '{listen}', token: {{env: SPOUT_TEST_TOKEN}}}}"), ""),
        )?;
        let said = site.ok(&["check", "a.yaml"])?;
        ensure!(said.contains("the token in the clear") == expected, "{listen}: {said}");
        Ok(())
    };
    check("0.0.0.0:0", true)?;
    check("127.0.0.1:0", false)?;
    check("[::1]:0", false)?;
    check("localhost:0", false)
}

#[test]
fn an_http_source_speaks_tls_and_its_token_is_not_in_the_clear() -> Result<()> {
    let mut site = site()?;
    certificate(site.path())?;
    site.environment.push(("SPOUT_TEST_TOKEN", "s3cret".into()));
    let source = |listen: &str, more: &str| {
        spec("a", &format!("http: {{listen: '{listen}', token: {{env: SPOUT_TEST_TOKEN}}{more}}}"), "")
    };
    site.write("a.yaml", source("0.0.0.0:0", ", cert: chain.pem, key: key.pem"))?;
    let said = site.ok(&["check", "a.yaml"])?;
    ensure!(said.contains("https://") && !said.contains("in the clear"), "{said}");
    site.write("a.yaml", source("127.0.0.1:0", ", cert: chain.pem, key: key.pem"))?;
    let (run, addresses) = listening(&site, &["a"], 1)?;
    let address = addresses[0].rsplit('/').next().context("an address")?;
    let over_tls = |token: &str| -> Result<String> {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", "chain.pem", "-connect", address])
            .current_dir(site.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let text = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: text/plain\r\ncontent-length: 4\r\nconnection: close\r\n\r\none\n"
        );
        client.stdin.as_mut().context("standard input")?.write_all(text.as_bytes())?;
        let mut answer = String::new();
        client.stdout.take().context("standard output")?.read_to_string(&mut answer)?;
        client.wait()?;
        Ok(answer)
    };
    let (stored, refused) = (over_tls("s3cret")?, over_tls("guess")?);
    ensure!(stored.starts_with("HTTP/1.1 200 "), "{stored}");
    ensure!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    // In the clear, nobody is answered.
    let mut clear = connect(address)?;
    clear.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let mut said = Vec::new();
    ensure!(clear.read_to_end(&mut said).map_or(true, |_| !said.starts_with(b"HTTP/")), "{said:?}");
    stopped(run)?;
    ensure!(site.number("select count(*) from a", None)? == 1);
    site.write("a.yaml", source("127.0.0.1:0", ", cert: chain.pem"))?;
    site.fails(&["check", "a.yaml"], 2, &["`cert` without `key`"])?;
    site.write("a.yaml", source("127.0.0.1:0", ", cert: key.pem, key: chain.pem"))?;
    site.fails(&["run", "a.yaml"], 2, &["error[E0915]", "chain.pem"]).map(drop)
}

#[test]
fn unfinished_lines_take_no_more_than_their_room_and_others_are_served() -> Result<()> {
    let site = site()?;
    site.write("a.yaml", spec("a", "tcp: {listen: '127.0.0.1:0', reply: line, queue: 1MiB}", ""))?;
    let (run, addresses) = listening(&site, &["a"], 1)?;
    let (before, _) = memory(run.child.id())?;
    let piece = vec![b'x'; 1 << 20];
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut one = connect(&addresses[0])?;
        one.set_write_timeout(Some(Duration::from_millis(20)))?;
        // One that is not read any more has sent what it could.
        let sent = (0..15).take_while(|_| one.write_all(&piece).is_ok()).count();
        ensure!(sent > 0, "nobody reads");
        held.push(one);
    }
    let mut honest = connect(&addresses[0])?;
    for index in 1..=20 {
        writeln!(honest, "{index}")?;
        let mut said = [0; 256];
        let read = honest.read(&mut said)?;
        ensure!(said.starts_with(format!("ok {index} ").as_bytes()), "{}", String::from_utf8_lossy(&said[..read]));
    }
    let (_, most) = memory(run.child.id())?;
    ensure!(most < before + 128, "{before} MiB, then {most} MiB");
    drop(held);
    stopped(run)
}

/// A subscriber of a publisher at `address`, which has said who it is.
fn subscriber(address: &str) -> Result<TcpStream> {
    let mut peer = connect(address)?;
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    peer.write_all(&greeting)?;
    peer.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB")?;
    Ok(peer)
}

#[test]
fn peers_of_a_publisher_and_their_subscriptions_are_bounded() -> Result<()> {
    let site = site()?;
    let publish = "consumers:\n  - {type: publish, address: 'tcp://127.0.0.1:0', maxPeers: 4}";
    site.write("a.yaml", spec("a", "tcp: {listen: '127.0.0.1:0'}", publish))?;
    let (run, addresses) = listening(&site, &["a"], 2)?;
    let mut found = None;
    for address in &addresses {
        // Who greets first is the publisher.
        let mut peer = subscriber(address)?;
        peer.set_read_timeout(Some(Duration::from_secs(1)))?;
        if peer.read(&mut [0]).is_ok_and(|read| read == 1) {
            found = Some(address);
        }
    }
    let address = found.context("no publisher")?;
    let mut greedy = subscriber(address)?;
    greedy.set_write_timeout(Some(PATIENCE))?;
    let wishes: Vec<u8> = (0..60_000).flat_map(|index| format!("\0\x09\x01{index:08}").into_bytes()).collect();
    let sent = greedy.write_all(&wishes);
    let mut rest = Vec::new();
    let over = greedy.read_to_end(&mut rest);
    ensure!(sent.is_err() || !matches!(&over, Err(error) if error.kind() == ErrorKind::WouldBlock), "it may have all");
    let since = Instant::now();
    let mut peers = Vec::new();
    while peers.len() < 4 {
        let mut peer = subscriber(address)?;
        if peer.read(&mut [0]).is_ok_and(|read| read == 1) {
            peers.push(peer);
        }
        ensure!(since.elapsed() < PATIENCE, "no place became free");
    }
    ensure!(closed(&mut connect(address)?), "the fifth is there");
    stopped(run)
}

#[test]
fn nobody_outside_keeps_it_from_stopping() -> Result<()> {
    let site = site()?;
    let deaf = TcpListener::bind("127.0.0.1:0")?;
    let consumers = format!(
        "consumers:\n  - {{type: tcp, address: '{}'}}\n  - {{type: publish, address: 'tcp://127.0.0.1:0'}}",
        deaf.local_addr()?
    );
    site.write("a.yaml", spec("a", "http: {listen: '127.0.0.1:0', framing: {type: lines}}", &consumers))?;
    site.write("b.yaml", spec("b", "tcp: {listen: '127.0.0.1:0', reply: line}", ""))?;
    let (mut run, addresses) = listening(&site, &["a", "b"], 3)?;
    let mut held = Vec::new();
    for address in &addresses {
        let (silent, mut half) = (connect(address)?, connect(address)?);
        half.write_all(HALF)?;
        held.extend([silent, half]);
        if let Ok(mut deaf) = subscriber(address) {
            deaf.write_all(b"\0\x01\x01")?;
            held.push(deaf);
        }
    }
    // More than what lies between two processes: the receiver of these rows reads nothing.
    let body = [vec![b'x'; 1 << 16], b"\n".to_vec()].concat().repeat(200);
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    for address in &addresses {
        let mut one = connect(address)?;
        one.write_all(head.as_bytes())?;
        let mut sending = one.try_clone()?;
        let body = body.clone();
        thread::spawn(move || sending.write_all(&body));
        held.push(one);
    }
    while run.wait_for("progress")?.context("it runs")?["rows"].as_u64() < Some(100) {}
    let since = Instant::now();
    run.signal("TERM")?;
    let (_, errors) = run.end()?;
    ensure!(since.elapsed() < Duration::from_secs(12), "{:?}: {errors}", since.elapsed());
    drop((held, deaf));
    Ok(())
}
