//! RFC 3164 as senders write it: `[<PRI>][TIME [HOSTNAME] [TAG[PID]:]] MESSAGE`.
//!
//! - The time is `Oct 11 22:14:15`, with or without a year, or an RFC 3339 time. Anything that does not look like one
//!   is text.
//! - Without a time everything after PRI is the message; without PRI there must be a time.
//! - A tag is a word before `: ` or `[pid]`. The first word after the time is the host, unless it is a tag or cannot be
//!   a host.
//! - Everything else is the message, with nothing cut off.

use std::net::Ipv6Addr;

use super::{
    message::{Message, Part, Time},
    structured::wrong,
    time::{rfc3164, rfc3339},
};

/// The message from byte `at` on, after PRI if there is one.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse(text: &str, at: usize, priority: Option<u8>) -> Result<Message<'_>, String> {
    let Some((time, behind)) = time(text, at)? else {
        return match priority {
            Some(_) => {
                let message = Some(Part::new(text, at, text.len()));
                Ok(Message { priority, message, ..Message::default() })
            }
            None => Err(neither(text, at)),
        };
    };
    let mut message = Message { priority, time: Some(time), ..Message::default() };
    // One blank ends the time, as it ends host and tag; more are skipped only before a host or a tag.
    let mut rest = behind;
    if let Some(host) = host(text, skip(text, rest)) {
        message.hostname = Some(host);
        rest = host.at + host.text.len() + 1;
    }
    if let Some((name, pid, end)) = tag(text, skip(text, rest)) {
        message.appname = Some(name);
        message.procid = pid;
        rest = end;
    }
    message.message = Some(Part::new(text, rest, text.len()));
    Ok(message)
}

/// The time at `at`, and where the text after it and a blank begins.
fn time(text: &str, at: usize) -> Result<Option<(Time<'_>, usize)>, String> {
    let at = skip(text, at);
    let rest = text.get(at..).unwrap_or_default();
    let Some((stamp, length)) = rfc3339(rest).or_else(|| rfc3164(rest)) else { return Ok(None) };
    let end = at + length;
    let behind = match text.as_bytes().get(end..) {
        None | Some([]) => end,
        Some([b' ', ..]) => end + 1,
        Some([b':']) => end + 1,
        Some([b':', b' ', ..]) => end + 2,
        Some(_) => return Ok(None),
    };
    Time::new(stamp, Part::new(text, at, end)).map(|time| Some((time, behind)))
}

fn skip(text: &str, at: usize) -> usize {
    at + text.bytes().skip(at).take_while(|byte| *byte == b' ').count()
}

/// The host at `at`: a word that can be one, is not a tag, and is followed by something.
fn host(text: &str, at: usize) -> Option<Part<'_>> {
    let rest = text.get(at..)?;
    let end = at + rest.find(' ')?;
    let word = Part::new(text, at, end);
    (is_host(word.text) && tag(text, at).is_none()).then_some(word)
}

fn is_host(word: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let address = word.split_once('%').map_or(word, |(address, _)| address);
    (1..=255).contains(&word.len()) && (word.bytes().all(name) || address.parse::<Ipv6Addr>().is_ok())
}

/// The tag at `at`, its process if any, and where the message after it begins.
fn tag(text: &str, at: usize) -> Option<(Part<'_>, Option<Part<'_>>, usize)> {
    let bytes = text.as_bytes();
    let ends = |byte: u8| matches!(byte, b'[' | b']' | b':' | b'"' | b'{' | b'}' | b'<' | b'>');
    let word =
        |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_graphic() && !ends(**byte)).count();
    let end = at + word(at);
    let name = Part::new(text, at, end);
    if name.text.is_empty() {
        return None;
    }
    match bytes.get(end..)? {
        [b':'] => Some((name, None, end + 1)),
        [b':', b' ', ..] => Some((name, None, end + 2)),
        [b'[', ..] => {
            let close = end + 1 + word(end + 1);
            let pid = Part::new(text, end + 1, close);
            let number = pid.text.bytes().all(|byte| byte.is_ascii_digit());
            let behind = match bytes.get(close..)? {
                _ if pid.text.is_empty() => return None,
                [b']', b':', b' ', ..] => close + 3,
                [b']', b':', ..] => close + 2,
                [b']'] if number => close + 1,
                [b']', b' ', ..] if number => close + 2,
                _ => return None,
            };
            Some((name, Some(pid), behind))
        }
        _ => None,
    }
}

/// The reason for a message with neither PRI nor a time; mentions a length in front, if any.
#[cold]
fn neither(text: &str, at: usize) -> String {
    let rest = text.get(at..).unwrap_or_default();
    let count = rest.split_once(' ').filter(|(count, behind)| {
        !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) && behind.starts_with('<')
    });
    match count {
        Some((count, _)) => wrong(
            &format!("the length {count} stands in front (octet counting: set `framing: {{type: octet}}`) of"),
            text,
            at + count.len() + 1,
        ),
        None => wrong("a message of syslog begins with <PRI> or a time, this one with", text, at),
    }
}
