//! The head of a response: status and headers, within bounds.

use std::io::{BufRead, Read as _};

use super::HttpError;

/// Bytes of a head, or of the end of a chunked body.
const LARGEST: usize = 64 << 10;
/// Headers of one head.
const MOST: usize = 256;
/// Heads like `100 Continue` before the one that counts.
const INTERIM: usize = 8;

pub(super) type Headers = Vec<(String, String)>;

/// Reads a head, and those before it that only say to wait.
pub(super) fn read(from: &mut impl BufRead) -> Result<(u16, Headers), HttpError> {
    for _ in 0..INTERIM {
        let mut room = LARGEST;
        let status = status(&line(from, &mut room)?)?;
        let headers = headers(from, &mut room)?;
        // Nobody asked to switch protocols.
        if status >= 200 {
            return Ok((status, headers));
        }
    }
    Err(HttpError::Protocol("it only says to wait".into()))
}

fn status(line: &str) -> Result<u16, HttpError> {
    let wrong = || {
        HttpError::Protocol(format!("it begins with `{}`", line.chars().take(40).collect::<String>().escape_debug()))
    };
    let rest = line.strip_prefix("HTTP/1.").and_then(|rest| rest.strip_prefix(['0', '1'])).ok_or_else(wrong)?;
    let code = rest.strip_prefix(' ').and_then(|rest| rest.split(' ').next()).filter(|code| code.len() == 3);
    code.and_then(|code| code.parse().ok()).filter(|code| *code >= 100).ok_or_else(wrong)
}

/// Reads headers up to the empty line.
pub(super) fn headers(from: &mut impl BufRead, room: &mut usize) -> Result<Headers, HttpError> {
    let mut headers = Vec::new();
    loop {
        let line = line(from, room)?;
        if line.is_empty() {
            return Ok(headers);
        }
        if headers.len() == MOST {
            return Err(HttpError::Protocol(format!("it has more than {MOST} headers")));
        }
        // A name with a space before its colon, or a line that goes on with the one before, is how proxies are fooled.
        let (name, value) = line
            .split_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control()))
            .ok_or_else(|| HttpError::Protocol("a header has no name".into()))?;
        headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

/// Reads one line, without its end; what it has is taken from `room`.
pub(super) fn line(from: &mut impl BufRead, room: &mut usize) -> Result<String, HttpError> {
    let mut line = Vec::new();
    let most = u64::try_from(*room).unwrap_or(u64::MAX);
    let read = from.by_ref().take(most).read_until(b'\n', &mut line)?;
    *room -= read.min(*room);
    if line.pop() != Some(b'\n') {
        let what = if *room == 0 { "its head is too large" } else { "it ends within its head" };
        return Err(HttpError::Protocol(what.into()));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| HttpError::Protocol("its head is not text".into()))
}
