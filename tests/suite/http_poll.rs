//! The plugin `http-poll` against Python's `http.server`.

use std::{fs, io::Read as _, net::TcpListener, path::Path, process::Command, sync::Arc, thread};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Site,
    daemon::Daemon,
    door::{Door, Proof},
    proxy::{Proxy, Trick},
};

use crate::endure::{self, message};

/// An API whose items are numbers up to what the file `count` says, with every way to get from one answer to the next.
const PROGRAM: &str = r#"
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

PAGE = 1000

def item(n):
    return '{"n":%d,"text":"%s"}' % (n, format(n, 'x') * (n % 17))

class API(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlparse(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        with open(sys.argv[2]) as file:
            count = int(file.read() or 0)
        if url.path == '/document':
            body, tag = item(count), '"%d"' % count
            same = self.headers.get('If-None-Match') == tag
            self.send_response(304 if same else 200)
            self.send_header('ETag', tag)
            body = '' if same else body
        else:
            first = int(asked.get('since', 0))
            if url.path == '/cursor':
                first = int(asked.get('cursor', 'at 0')[3:])
            elif url.path == '/page':
                first = (int(asked['page']) - 1) * PAGE
            elif url.path == '/link':
                first = int(asked.get('from', 0))
            after = min(first + PAGE, count)
            items = '[%s]' % ', '.join(item(n) for n in range(first, after))
            full = after == first + PAGE
            self.send_response(200)
            if full and url.path == '/link':
                self.send_header('Link', '<http://%s/link?from=0>; rel="first", </link?from=%d>; rel="next"' % (self.headers['Host'], after))
            body = '{"data": {"items": %s}, "next": %s}' % (items, json.dumps('at %d' % after if full else None))
        body = body.encode()
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 64

Server(('127.0.0.1', int(sys.argv[1])), API).serve_forever()
"#;

const CURSOR: &str = "mode: cursor, items: /data/items, field: /next";

fn server(count: &Path) -> Result<Daemon> {
    let count = count.to_owned();
    Daemon::start(move |port| {
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM, &port.to_string()]).arg(&count);
        command
    })
}

/// Says how many items there are.
fn grow(site: &Path, count: u64) -> Result<()> {
    fs::write(site.join("count.new"), count.to_string())?;
    Ok(fs::rename(site.join("count.new"), site.join("count"))?)
}

fn spec(address: &str, path: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: http-poll
    topic: \"http://{address}/{path}\"
    fetch: {{timeout: 50ms}}
    settings: {{every: 0.02, {settings}}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  http-poll: {{net: [\"{address}\"]}}
"
    )
}

#[test]
fn every_item_is_there_once_over_kills_of_both() -> Result<()> {
    let site = Site::new()?;
    grow(site.path(), 0)?;
    let server = server(&site.path().join("count"))?;
    site.write("spec.yaml", spec(&server.address(), "cursor", CURSOR))?;
    let path = site.path().to_owned();
    let write = move |_, to| grow(&path, to).map(|()| to);
    endure::kills(&site, server, Arc::new(write))
}

#[test]
fn every_way_from_one_answer_to_the_next_gives_every_item() -> Result<()> {
    let count = tempfile::tempdir()?;
    grow(count.path(), 1100)?;
    let server = server(&count.path().join("count"))?;
    let (address, net) = (server.address(), server.address());
    let ways = [
        ("cursor", "mode: cursor, items: /data/items, field: /next"),
        ("page", "mode: page, items: /data/items, size: 1000"),
        ("link", "mode: link, items: /data/items"),
        ("since", "mode: since, items: /data/items, field: /n"),
    ];
    for (path, settings) in ways {
        let site = Site::new()?;
        site.write("spec.yaml", spec(&address, path, settings))?;
        endure::complete(&site, 1100)?;
        grow(count.path(), 2500)?;
        endure::complete(&site, 2500)?;
        grow(count.path(), 1100)?;
        let topic = format!("http://{address}/{path}");
        let mut test = vec!["plugin", "test", "http-poll", "--topic", &topic, "--net", &net];
        let pairs: Vec<String> = settings.split(", ").map(|pair| pair.replace(": ", "=")).collect();
        pairs.iter().for_each(|pair| test.extend(["--settings", pair]));
        site.ok(&test)?;
    }
    let site = Site::new()?;
    site.write("spec.yaml", spec(&address, "document", "mode: etag"))?;
    for count_now in [5, 6] {
        grow(count.path(), count_now)?;
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        ensure!(site.number("select count(*) from lines", None)? == count_now - 4);
    }
    ensure!(site.rows("select n, text from lines where n = 6", None)? == [message(6)]);
    Ok(())
}

#[test]
fn a_server_that_hangs_lies_or_breaks_off_is_waited_out() -> Result<()> {
    let site = Site::new()?;
    grow(site.path(), 3000)?;
    let server = server(&site.path().join("count"))?;
    let tricks = vec![
        Trick::Say(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        Trick::Answer(b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(3),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(server.address(), tricks)?;
    site.write("spec.yaml", spec(&proxy.address(), "cursor", CURSOR))?;
    endure::complete(&site, 3000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    let site = Site::new()?;
    for (answer, parts) in [
        ("401 Who\r\nContent-Length: 0\r\n\r\n", ["http.status", "401"]),
        (
            "302 Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            ["http.moved", "169.254.169.254"],
        ),
        ("200 OK\r\nContent-Length: 99999999\r\n\r\n", ["http.large", "8388608"]),
    ] {
        let proxy = Proxy::start(server.address(), vec![Trick::Answer(format!("HTTP/1.1 {answer}").into_bytes()); 9])?;
        site.write("spec.yaml", spec(&proxy.address(), "cursor", CURSOR))?;
        site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &parts)?;
    }
    Ok(())
}

#[test]
fn a_link_to_another_server_is_not_followed() -> Result<()> {
    let site = Site::new()?;
    // Granted or not: what a server says must not decide whom the plugin talks to.
    let other = TcpListener::bind("127.0.0.1:0")?;
    let elsewhere = other.local_addr()?.to_string();
    thread::spawn(move || other.incoming().map_while(|one| one.ok()).for_each(|mut one| drop(one.read(&mut [0; 100]))));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nLink: <http://{elsewhere}/>; rel=next\r\nContent-Length: 27\r\n\r\n[{{\"n\":1,\"text\":\"one only\"}}]"
    );
    let proxy = Proxy::start(elsewhere.clone(), vec![Trick::Answer(answer.into_bytes()); 3])?;
    let text = spec(&proxy.address(), "x", "mode: link");
    let grant = format!("net: [\"{}\", \"{elsewhere}\"]", proxy.address());
    site.write("spec.yaml", text.replace(&format!("net: [\"{}\"]", proxy.address()), &grant))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["http.answer", &elsewhere])?;
    Ok(())
}

#[test]
fn an_api_with_tls_that_asks_who_asks_is_read() -> Result<()> {
    let mut site = Site::new()?;
    grow(site.path(), 2100)?;
    let server = server(&site.path().join("count"))?;
    let door = Door::open(&server.address(), Proof::Bearer("t0p-secret"))?.context("there is a door")?;
    let address = door.address();
    let text = |authorization: &str, tls: &str| {
        let text = spec(&address, "cursor", &format!("{CURSOR}{authorization}")).replace("http://", "https://");
        let endpoint =
            format!("{{api: {{address: \"{address}\"{tls}}}}}, secrets: {{token: {{env: SPOUT_TEST_TOKEN}}}}");
        text.replace(&format!("net: [\"{address}\"]"), &format!("endpoints: {endpoint}"))
    };
    let (bearer, trusted) = (", authorization: bearer", ", tls: {ca: ./ca.pem, serverName: localhost}");
    site.write("ca.pem", door.certificate()?)?;
    site.environment.push(("SPOUT_TEST_TOKEN", "t0p-secret".into()));
    for (authorization, tls, said) in [
        ("", trusted, ["http.status", "403"]),
        (", authorization: basic, username: me", trusted, ["`authorization: basic`", "secret `password`"]),
        (bearer, ", tls: {ca: ./ca.pem}", ["http.io", "certificate"]),
        (bearer, ", tls: true", ["http.io", "certificate"]),
        (bearer, "", ["http.denied", "no TLS"]),
    ] {
        site.write("spec.yaml", text(authorization, tls))?;
        let code = if said[0].starts_with("http.") { 1 } else { 2 };
        site.fails(&["run", "spec.yaml", "--until", "idle"], code, &said)?;
    }
    site.write("spec.yaml", text(bearer, trusted))?;
    endure::complete(&site, 2100)?;
    site.environment.clear();
    site.environment.push(("SPOUT_TEST_TOKEN", "an0ther-secret".into()));
    let said = site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["http.status", "403"])?;
    ensure!(!said.contains("an0ther-secret"), "{said}");
    // The same secret as it is in a header of its own, which this door does not look at.
    site.write("spec.yaml", text(", secretHeader: X-Api-Key", trusted))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["http.status", "403"]).map(drop)
}
