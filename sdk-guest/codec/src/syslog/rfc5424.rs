//! RFC 5424: `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]`.
//!
//! Strictly, except for two extensions that lose nothing: names may be longer than the RFC allows, and a fraction may
//! have nine digits.

use super::{
    message::{Message, Part, Time},
    structured::{elements, wrong},
    time::{Stamp, rfc3339},
};

/// The message whose header continues at byte `at`.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse(text: &str, at: usize, priority: Option<u8>) -> Result<Message<'_>, String> {
    let mut header = Header { text, at };
    let time = match header.field("TIMESTAMP")? {
        Some(written) => Some(time(text, written)?),
        None => None,
    };
    let [hostname, appname, procid, msgid] = ["HOSTNAME", "APP-NAME", "PROCID", "MSGID"].map(|name| header.field(name));
    let (hostname, appname, procid, msgid) = (hostname?, appname?, procid?, msgid?);
    let structured_at = header.at;
    let (structured, end) = match text.as_bytes().get(structured_at) {
        Some(b'-') => (Vec::new(), structured_at + 1),
        Some(b'[') => elements(text, structured_at)?,
        _ => return Err(wrong("the structured data must be `-` or begin with `[`, not with", text, structured_at)),
    };
    let message = match text.as_bytes().get(end) {
        None => None,
        Some(b' ') => {
            let from = end + 1;
            let mark = text.get(from..).is_some_and(|text| text.starts_with('\u{feff}'));
            Some(Part::new(text, from + if mark { 3 } else { 0 }, text.len()))
        }
        Some(_) => return Err(wrong("behind the structured data there must be a blank, not", text, end)),
    };
    Ok(Message { priority, time, hostname, appname, procid, msgid, structured, structured_at, message })
}

fn time<'a>(text: &'a str, written: Part<'a>) -> Result<Time<'a>, String> {
    // With a colon in the offset, and nothing behind it.
    let sound = |(stamp, length): &(Result<Stamp, _>, usize)| {
        let offset =
            written.text.get(19..).and_then(|rest| rest.find(['+', '-'])).map_or(6, |at| written.text.len() - 19 - at);
        *length == written.text.len() && offset == 6 && !matches!(stamp, Ok(Stamp::Zoneless(_)))
    };
    match rfc3339(written.text).filter(sound) {
        Some((stamp, _)) => Time::new(stamp, written),
        None => Err(wrong("TIMESTAMP must be `-` or like 2026-01-31T12:00:00.000000Z, not", text, written.at)),
    }
}

#[derive(Debug)]
struct Header<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Header<'a> {
    /// The next field and the blank after it; `-` is `None`.
    fn field(&mut self, name: &str) -> Result<Option<Part<'a>>, String> {
        let from = self.at;
        let length = self.text.bytes().skip(from).take_while(u8::is_ascii_graphic).count();
        let end = from + length;
        match (length, self.text.as_bytes().get(end)) {
            (0, _) => Err(wrong(&format!("{name} is missing before"), self.text, from)),
            (_, Some(b' ')) => {
                self.at = end + 1;
                Ok(Some(Part::new(self.text, from, end)).filter(|part| part.text != "-"))
            }
            (_, None) => Err(wrong(&format!("behind {name} there must be more, not"), self.text, end)),
            (_, Some(_)) => Err(wrong(&format!("{name} has a character that is not printable ASCII:"), self.text, end)),
        }
    }
}
