//! One parsed message, in either of the two formats.

use super::{
    Format, rfc3164, rfc5424,
    structured::{Element, wrong},
    time::{Stamp, Wrong, rfc3339},
};
use crate::reason::{Place, quote};

/// The parts of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message<'a> {
    /// Facility and severity.
    pub(super) priority: Option<u8>,
    pub(super) time: Option<Time<'a>>,
    pub(super) hostname: Option<Part<'a>>,
    pub(super) appname: Option<Part<'a>>,
    pub(super) procid: Option<Part<'a>>,
    pub(super) msgid: Option<Part<'a>>,
    /// Empty if absent.
    pub(super) structured: Vec<Element<'a>>,
    pub(super) structured_at: usize,
    pub(super) message: Option<Part<'a>>,
}

/// A part of the message, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// A time as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time<'a> {
    pub(super) stamp: Stamp,
    pub(super) written: Part<'a>,
}

impl<'a> Part<'a> {
    /// The part of `text` from `at` to `end`.
    pub(super) fn new(text: &'a str, at: usize, end: usize) -> Self {
        Self { text: text.get(at..end).unwrap_or_default(), at }
    }
}

impl<'a> Time<'a> {
    /// # Errors
    /// No such time exists.
    pub(super) fn new(stamp: Result<Stamp, Wrong>, written: Part<'a>) -> Result<Self, String> {
        let stamp = stamp.map_err(|wrong| told(wrong, written))?;
        Ok(Self { stamp, written })
    }
}

/// Why `written` is not a time.
pub(super) fn told(wrong: Wrong, written: Part<'_>) -> String {
    format!("the time {} {},{}", quote(written.text.as_bytes()), wrong.what(), Place::Byte(written.at))
}

/// The message in `text` from byte `start` on.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse(text: &str, start: usize, format: Format) -> Result<Message<'_>, String> {
    if text.len() == start {
        return Err("the message is empty".into());
    }
    let (priority, at) = priority(text, start)?;
    match (format, priority, version(text, at)) {
        (Format::Rfc3164, ..) | (Format::Auto, None, _) | (Format::Auto, _, Version::None) => {
            rfc3164::parse(text, at, priority)
        }
        (_, None, _) => Err(wrong("a message of RFC 5424 begins with <PRI>, this one with", text, start)),
        (_, _, Version::First(at)) => rfc5424::parse(text, at, priority),
        (_, _, Version::Other) => Err(wrong("the only version of RFC 5424 is 1, and this message has", text, at)),
        (Format::Rfc5424, _, Version::None) => Err(wrong("behind <PRI> there must be the version `1`, not", text, at)),
    }
}

/// The number in `<…>`, and where the rest begins.
fn priority(text: &str, at: usize) -> Result<(Option<u8>, usize), String> {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    let digits = rest.get(1..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match rest {
        [b'<', ..] if (1..=3).contains(&digits) && rest.get(digits + 1) == Some(&b'>') => {
            text.get(at + 1..at + 1 + digits)
        }
        [b'<', ..] => None,
        _ => return Ok((None, at)),
    };
    let sound = number.filter(|number| *number == "0" || !number.starts_with('0'));
    match sound.and_then(|number| number.parse::<u8>().ok()).filter(|number| *number <= 191) {
        Some(number) => Ok((Some(number), at + digits + 2)),
        None => Err(wrong("the priority must be a number from 0 to 191 in <…>, not", text, at)),
    }
}

/// What is in the place of RFC 5424's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    None,
    /// 1, and where the rest begins.
    First(usize),
    Other,
}

/// A number is a version if it is 1, or if an RFC 3339 time or `-` follows: free text can begin with a number too.
fn version(text: &str, at: usize) -> Version {
    let rest = text.get(at..).unwrap_or_default();
    let Some((number, behind)) = rest.split_once(' ') else { return Version::None };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    match number {
        "1" => Version::First(at + 2),
        _ if !digits || !(1..=3).contains(&number.len()) => Version::None,
        _ if behind.starts_with("- ") || rfc3339(behind).is_some() => Version::Other,
        _ => Version::None,
    }
}
