//! Streams of RabbitMQ: where they are read from, and what goes wrong.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Site,
    proxy::{Proxy, Trick},
};

use super::server::{Client, PATIENCE};
use crate::endure;

const RUN: [&str; 4] = ["run", "spec.yaml", "--until", "idle"];

pub(super) fn spec(address: &str, streams: &str, stream: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: amqp
    topic: \"{streams}\"
    fetch: {{timeout: 50ms}}
    settings: {{address: \"{address}\"}}
{stream}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  amqp: {{net: [\"{address}\"]}}
"
    )
}

fn count(site: &Site) -> Result<u64> {
    site.number("select count(*) from lines", None)
}

/// Where streams are read from, conformance, and what is gone.
pub(super) fn others(address: &str, client: &mut Client) -> Result<()> {
    starts(address, client)?;
    what_retention_took_and_a_stream_made_anew_are_named(address, client)?;
    let site = Site::new()?;
    site.write("spec.yaml", spec(address, "nothing", ""))?;
    site.fails(&RUN, 1, &["amqp.queue", "nothing"])?;
    client.create("no-stream", "classic")?;
    site.write("spec.yaml", spec(address, "no-stream", ""))?;
    site.fails(&RUN, 1, &["amqp.stream", "consumerType: acked"])?;
    let tricks = vec![
        Trick::Cut(usize::MAX),
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Cut(100),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(1),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(address.to_owned(), tricks)?;
    let site = Site::new()?;
    site.write("spec.yaml", spec(&proxy.address(), "t", ""))?;
    endure::complete(&site, 1500)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    Ok(())
}

fn starts(address: &str, client: &mut Client) -> Result<()> {
    for stream in ["t", "u"] {
        client.create(stream, "stream")?;
        client.publish(stream, 0, 1000)?;
    }
    // A stream finds a second, and no part of it.
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|now| now.as_secs());
    let (before, until) = (second()?, Instant::now() + PATIENCE);
    while second()? == before && Instant::now() < until {
        thread::park_timeout(Duration::from_millis(20));
    }
    let shown = Command::new("date").args(["-u", "+%FT%TZ", "-d", &format!("@{}", second()?)]).output()?;
    let after = format!("{{time: {}}}", String::from_utf8(shown.stdout)?.trim());
    client.publish("t", 1000, 1500)?;
    for (topic, start, rows) in [
        ("t,u", "earliest", 2500),
        ("t", after.as_str(), 500),
        ("t", "{time: 2099-01-01T00:00:00Z}", 0),
        ("u", "latest", 7),
    ] {
        let site = Site::new()?;
        site.write("spec.yaml", spec(address, topic, &format!("    start: {start}")))?;
        if start == "latest" {
            site.ok(&RUN)?;
            client.publish("u", 1000, 1007)?;
        }
        site.ok(&RUN)?;
        let found = if rows == 0 { 0 } else { count(&site)? };
        ensure!(found == rows, "{topic} from {start}: {found} rows, not {rows}");
    }
    let of = format!("address={address}");
    site_test(&["plugin", "test", "amqp", "--source", "--topic", "t,u", "--settings", &of, "--net", address])
}

fn site_test(args: &[&str]) -> Result<()> {
    Site::new()?.ok(args).map(drop)
}

/// What retention takes before it was read, and a stream that was made anew, stop the pipeline, or it goes on as the spec says.
fn what_retention_took_and_a_stream_made_anew_are_named(address: &str, client: &mut Client) -> Result<()> {
    let limits = [("x-max-length-bytes", 100_000), ("x-stream-max-segment-size-bytes", 50_000)];
    client.create_with("short", "stream", &limits)?;
    client.publish("short", 0, 100)?;
    let site = Site::new()?;
    let (failing, passing) = (spec(address, "short", ""), spec(address, "short", "    onOutOfRange: earliest"));
    site.write("spec.yaml", &failing)?;
    site.ok(&RUN)?;
    let mut written = 100;
    while Client::first(address, "short")? <= 200 {
        ensure!(written < 100_000, "retention takes nothing");
        client.publish("short", written, written + 1000)?;
        written += 1000;
    }
    site.fails(&RUN, 1, &["E0301", "onOutOfRange"])?;
    site.write("spec.yaml", &passing)?;
    endure::caught_up(&site)?;
    // Offsets are not numbers of messages: a stream has other things in it where its segments begin.
    let number = |what: &str| site.number(&format!("select {what} from lines where n >= 100"), None);
    let (least, most, found) = (number("min(n)")?, number("max(n)")?, number("count(*)")?);
    ensure!(least > 100 && most == written - 1, "from {least} to {most} of {written}");
    ensure!(found == written - least && number("count(distinct n)")? == found, "{found} rows from {least} to {most}");
    let before = count(&site)?;
    client.delete("short")?;
    client.create_with("short", "stream", &limits)?;
    client.publish("short", 0, 300)?;
    site.write("spec.yaml", &failing)?;
    site.fails(&RUN, 1, &["E0301"])?;
    site.write("spec.yaml", &passing)?;
    endure::caught_up(&site)?;
    let found = count(&site)?;
    ensure!(found == before + 300, "{found} rows, not {before} and 300");
    // As long as before, and another one all the same.
    client.delete("short")?;
    client.create("short", "stream")?;
    client.publish("short", 1, 301)?;
    site.write("spec.yaml", &failing)?;
    site.fails(&RUN, 1, &["E0301"]).map(drop).context("another stream of the same length")
}
