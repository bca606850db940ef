//! Senders on the network: bodies as curl makes them, octet counting.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Running;

use super::{
    NATIVE,
    trial::{Trial, find},
};

/// Starts the case where the system chooses the port; where it listens.
fn listening(trial: &Trial, address: &str) -> Result<(Running, String)> {
    trial.edit(&[(address, "127.0.0.1:0")])?;
    let mut run = trial.site.start(&["run", "spec.yaml"])?;
    let Some(update) = run.wait_for("listening")? else {
        let (_, errors) = run.end()?;
        anyhow::bail!("it ended before it listened: {errors}");
    };
    let address = update.get("address").and_then(Value::as_str).context("an address")?.to_owned();
    Ok((run, address))
}

fn stop(run: Running) -> Result<()> {
    run.signal("TERM")?;
    let (fine, errors) = run.end()?;
    ensure!(fine, "{errors}");
    Ok(())
}

/// Posts a body; the status, and the answer where it is JSON.
fn post(address: &str, headers: &str, body: &[u8]) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST /events HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| head.to_owned())?;
    Ok((status, serde_json::from_str(body.trim()).unwrap_or(Value::Null)))
}

#[test]
fn a_body_without_its_newlines_is_told_to_the_sender() -> Result<()> {
    let Some(dir) = find("j09-curl-data") else { return Ok(()) };
    let trial = Trial::new(&dir, NATIVE[0])?;
    let (run, address) = listening(&trial, "127.0.0.1:8099")?;
    let body = |name: &str| fs::read(trial.site.path().join(name));
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let count = |answer: &Value, name: &str| answer.get(name).and_then(Value::as_u64);

    let (status, answer) = post(&address, ndjson, &body("body-glued.txt")?)?;
    ensure!(status >= 400 || count(&answer, "deadLetters") == Some(1), "{status} {answer}");
    let (status, answer) = post(&address, ndjson, &body("body-last-line-open.ndjson")?)?;
    ensure!(status == 200 && count(&answer, "messages") == Some(3), "{status} {answer}");
    ensure!(count(&answer, "deadLetters") == Some(0), "{answer}");
    let zipped = body("body.ndjson.gz")?;
    let (status, answer) = post(&address, &format!("{ndjson}Content-Encoding: gzip\r\n"), &zipped)?;
    ensure!(status == 200 && count(&answer, "messages") == Some(3), "{status} {answer}");
    let (status, answer) = post(&address, ndjson, &zipped)?;
    ensure!(status >= 400 || count(&answer, "deadLetters") == count(&answer, "messages"), "{status} {answer}");
    let (status, answer) = post(&address, "Content-Type: application/json\r\n", &body("body-array.json")?)?;
    let told = count(&answer, "deadLetters") == Some(1) || count(&answer, "messages") == Some(3);
    ensure!(status >= 400 || told, "{status} {answer}");
    let commits = trial.site.json(&["list", "commit", "j09"])?.len();
    let (status, answer) = post(&address, ndjson, b"")?;
    ensure!(status == 200 && count(&answer, "messages") == Some(0), "{status} {answer}");
    stop(run)?;
    ensure!(trial.site.json(&["list", "commit", "j09"])?.len() == commits, "an empty body made a commit");

    let dead = trial.outcome("j09")?.dead;
    ensure!(dead.iter().any(|(value, ..)| value.contains(r#"{"some":"thing"}{"foo""#)), "{dead:?}");
    Ok(())
}

/// Sends `bytes` one by one and hears what comes back.
fn send(address: &str, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
    }
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn octet_counts_are_counts_of_bytes() -> Result<()> {
    let Some(dir) = find("s05-octet-counting") else { return Ok(()) };
    let trial = Trial::new(&dir, NATIVE[0])?;
    let (run, address) = listening(&trial, "127.0.0.1:5514")?;
    for file in ["counted.bin", "bad-count.bin", "mixed.bin"] {
        send(&address, &fs::read(trial.site.path().join(file))?)?;
    }
    stop(run)?;
    let outcome = trial.outcome("s05")?;
    let text = |row: &Value| row.get("message").map(ToString::to_string).unwrap_or_default();
    let messages: Vec<String> = outcome.rows.iter().map(text).collect();
    ensure!(outcome.rows.len() >= 6, "two counted and four mixed messages: {outcome:#?}");
    ensure!(messages.iter().any(|message| message.contains("\\n")), "a line break within a message: {messages:?}");
    Ok(())
}
