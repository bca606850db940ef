//! The plugin `amqp` against Debian's RabbitMQ: queues that are acknowledged, and streams that are read by offset.

mod server;
mod streams;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Site,
    proxy::{Proxy, Trick},
    tls,
};

use self::server::{Client, Server, server};
use crate::endure;

fn spec(address: &str, queue: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: amqp
    topic: {queue}
    consumerType: acked
    fetch: {{timeout: 50ms}}
    dedupe: {{window: 10000, unacknowledged: 4000}}
    settings: {{address: \"{address}\"{settings}}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  amqp: {{net: [\"{address}\"]}}
"
    )
}

/// Everything that wants a server uses one: it takes seconds to start.
#[test]
fn queues_and_streams_are_read_once_over_kills_of_both_and_everything_else_is_said() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.node.address();
    let mut client = Client::patiently(&address)?;
    others(&address, &mut client)?;
    by_tls(server.tls, &server.certificates, &mut client)?;
    streams::others(&address, &mut client)?;
    client.create("q", "classic")?;
    client.create("s", "stream")?;
    drop(client);
    kills(&site, server, endure::Load::now())
}

/// Kills the hosts of a queue and of a stream, and the server that has both, while messages come to both.
fn kills(queue: &Site, server: Server, load: endure::Load) -> Result<()> {
    let (total, address, stream) = (load.messages, server.node.address(), Site::new()?);
    queue.write("spec.yaml", spec(&address, "q", ""))?;
    stream.write("spec.yaml", streams::spec(&address, "s", ""))?;
    let server = Arc::new(Mutex::new(server));
    let (held, to) = (Arc::clone(&server), address.clone());
    let write = move |from: u64, until: u64| {
        if until > from {
            // The server runs as long as this is held, and has all of it afterwards.
            let _held = held.lock().map_err(|_| anyhow::anyhow!("the server is gone"))?;
            for name in ["q", "s"] {
                Client::until_there(&to, name)?.publish(name, from, until)?;
            }
        }
        Ok(Some(until))
    };
    endure::paced(load, write, |round, dice| {
        let mut hosts = [queue.start(&["run", "spec.yaml"])?, stream.start(&["run", "spec.yaml"])?];
        for host in &mut hosts {
            host.wait_for("committed")?.context("a commit in this round")?;
            if round % 2 == 1 {
                // Before it acknowledges what it has committed, so that it is sent again.
                host.child.kill()?;
            }
        }
        endure::wait(dice, 100);
        let mut server = server.lock().map_err(|_| anyhow::anyhow!("the server is gone"))?;
        server.node.kill()?;
        server.node.again()?;
        drop(server);
        for mut host in hosts {
            endure::wait(dice, 300);
            host.child.kill()?;
            host.end()?;
        }
        Ok(())
    })?;
    for site in [queue, &stream] {
        endure::partly(site, total)?;
    }
    endure::complete(queue, total)?;
    let left = Client::patiently(&address)?.ready("q")?;
    ensure!(left == 0, "{left} messages are left");
    endure::sent_again(queue)?;
    queue.ok(&["fsck"])?;
    endure::complete(&stream, total)?;
    stream.ok(&["fsck"]).map(drop)
}

/// What goes wrong, and conformance.
fn others(address: &str, client: &mut Client) -> Result<()> {
    let mut site = Site::new()?;
    let run = ["run", "spec.yaml", "--until", "idle"];
    site.write("spec.yaml", spec(address, "nothing", ""))?;
    site.fails(&run, 1, &["amqp.queue", "nothing"])?;
    site.write("spec.yaml", spec(address, "r", ", vhost: nowhere"))?;
    site.fails(&run, 1, &["amqp.refused", "nowhere"])?;
    client.create("r", "classic")?;
    client.publish("r", 0, 1000)?;
    let test = ["plugin", "test", "amqp", "--stream", "--topic", "r", "--net", address];
    site.ok(&[&test[..], &["--settings", &format!("address={address}")]].concat())?;
    client.create("w", "classic")?;
    client.publish("w", 0, 1000)?;
    let behind = Site::new()?;
    endure::lags(&behind, &spec(address, "w", ", prefetch: 100"), 900)?;
    endure::each_once(&behind, 1000)?;
    client.create("p", "classic")?;
    client.publish("p", 0, 1000)?;
    let tricks = vec![
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Cut(3),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(1),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(address.to_owned(), tricks)?;
    let password = ", secrets: {password: {env: SPOUT_TEST_PASSWORD}}";
    site.write("spec.yaml", endure::through(&spec("broker", "p", ", username: guest"), &proxy.address(), password))?;
    site.environment = vec![("SPOUT_TEST_PASSWORD", "guest".into())];
    site.ok(&run)?;
    endure::each_once(&site, 1000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    // What the protocol says of a message is in its headers.
    client.create("h", "classic")?;
    client.publish("h", 0, 100)?;
    let tagged = Site::new()?;
    tagged
        .write("spec.yaml", spec(address, "h", "").replace("consumerType", "metadata: [headers]\n    consumerType"))?;
    tagged.ok(&run)?;
    let found = |name: &str, value: &str| {
        let all = "select n, unnest(__headers) as h from lines";
        let of = format!("h['name'] = '{name}' and cast(h['value'] as varchar) = {value}");
        tagged.number(&format!("select count(*) from ({all}) where {of}"), None)
    };
    let (ids, keys) = (found("message-id", "'id-' || cast(n as varchar)")?, found("routing-key", "'h'")?);
    ensure!(ids == 100 && keys == 100, "{ids} ids and {keys} keys");
    site.environment = vec![("SPOUT_TEST_PASSWORD", "another".into())];
    let said = site.fails(&run, 1, &["amqp.denied"])?;
    ensure!(!said.contains("another"), "{said}");
    Ok(())
}

/// The server shows a certificate, wants one, and knows by it who is there.
fn by_tls(port: u16, certificates: &Path, client: &mut Client) -> Result<()> {
    let run = ["run", "spec.yaml", "--until", "idle"];
    client.create("v", "classic")?;
    let mut site = Site::new()?;
    site.environment = vec![("SPOUT_TEST_PASSWORD", "guest".into())];
    let spec = |settings: &str, endpoint: &str| {
        let secret = "secrets: {password: {env: SPOUT_TEST_PASSWORD}}";
        spec("broker", "v", settings).replace("{net: [\"broker\"]}", &format!("{{{endpoint}, {secret}}}"))
    };
    tls::refused(&site, port, certificates, |endpoint| spec(", mechanism: external", endpoint))?;
    let endpoint = tls::endpoint(port, certificates);
    for (settings, from) in [(", mechanism: external", 0), (", username: guest", 500)] {
        client.publish("v", from, from + 500)?;
        site.write("spec.yaml", spec(settings, &endpoint))?;
        site.ok(&run)?;
        endure::each_once(&site, from + 500)?;
    }
    Ok(())
}
