//! Reads a source natively, and is the server that it asks.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

use crate::{Fetched, Limits, Position, Progress, Reader, Result};

/// What `reader` has from `start` on, at most so many messages, without waiting.
///
/// # Errors
/// Those of the reader.
pub fn fetch(reader: &mut impl Reader, start: &Position, messages: usize) -> Result<Fetched> {
    reader.fetch(start.clone(), Limits { messages, bytes: 1 << 20, timeout: Duration::ZERO })
}

/// The messages from `start` on until there are none, `most` a fetch, and where that leads.
///
/// # Errors
/// Those of the reader.
pub fn read_all(reader: &mut impl Reader, start: &Position, most: usize) -> Result<(Vec<String>, Position)> {
    let (mut found, mut place) = (Vec::new(), start.clone());
    loop {
        let fetched = fetch(reader, &place, most)?;
        found.extend(fetched.messages.iter().map(|one| String::from_utf8_lossy(one.value()).into_owned()));
        if fetched.progress != Progress::More {
            return Ok((found, fetched.next));
        }
        place = fetched.next;
    }
}

/// Serves HTTP on a port of loopback as long as the process lives; where, as in `http://127.0.0.1:4711`. `answer` gets the path and the
/// headers of a request, and has what follows `HTTP/1.1 ` (the status, and headers besides `Content-Length`), and the body.
///
/// # Errors
/// If there is no port.
pub fn serve(answer: impl Fn(&str, &[String]) -> (String, Vec<u8>) + Send + 'static) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(std::result::Result::ok) {
            let Ok(from) = stream.try_clone() else { return };
            let mut lines = BufReader::new(from).lines().map_while(std::result::Result::ok);
            let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let (head, body) = answer(&path, &headers);
            // A client may have gone.
            drop(write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()));
            drop(stream.write_all(&body));
        }
    });
    Ok(address)
}
