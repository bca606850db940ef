//! Requests over HTTP/1.1 as they stand on the wire, so that tests can send what no client would.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }

    /// The code of an error.
    #[must_use]
    pub fn code(&self) -> String {
        let code = self.json().ok().and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned()));
        code.unwrap_or_default()
    }
}

/// Opens a connection to `address`.
///
/// # Errors
/// If nobody listens.
pub fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Sends a request with these further headers and reads its answer.
///
/// # Errors
/// If the connection breaks, or what comes is no HTTP.
pub fn request(address: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut stream = connect(address)?;
    let mut head = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || line.starts_with('P') {
        head += &format!("content-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A server that refuses may have closed before it has read everything.
    drop(stream.write_all(body));
    read(stream, !line.starts_with("HEAD"))
}

/// Reads an answer from `stream`; of one that does not end, only what comes before its body.
///
/// # Errors
/// If the connection breaks, or what comes is no HTTP.
pub fn read(stream: TcpStream, has_body: bool) -> Result<Answer> {
    let mut from = BufReader::new(stream);
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context(line)?;
    let mut answer = Answer { status, ..Answer::default() };
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        answer.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    if !has_body || answer.header("content-type") == Some("text/event-stream") {
        return Ok(answer);
    }
    match answer.header("content-length").map(str::parse::<u64>) {
        Some(length) => {
            from.take(length?).read_to_end(&mut answer.body)?;
        }
        None if answer.header("transfer-encoding").is_some() => chunks(&mut from, &mut answer.body)?,
        None => {}
    }
    Ok(answer)
}

fn chunks(from: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        ensure!(from.read_line(&mut line)? > 0, "the body broke off");
        let length = u64::from_str_radix(line.trim(), 16).with_context(|| line.clone())?;
        from.by_ref().take(length).read_to_end(body)?;
        from.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}
