//! What a spec says about files.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use spout_guest::{Error, Result};

use crate::framing::{Framer, Framing};

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Which files, by name: `*` stands for any run of characters, `?` for one. With `recursive`, the path below the
    /// directory is matched.
    pub pattern: String,
    /// Whether directories below are read too.
    pub recursive: bool,
    /// `true`: files grow; a last line without an end waits for it. `false`: a file ends where it ends.
    pub follow: bool,
    /// When a last line without an end counts although its file is followed: `never`, or after the file was quiet for a
    /// time, such as `10s`; what is written behind it later is then a line of its own. A file that was rotated away, is
    /// packed, or is not followed ends with its last line in any case.
    pub last_line: LastLine,
    /// How long a file that was rotated away has to be quiet until it counts as complete.
    pub rotate_wait: Time,
    /// Longest line (or record, or whole file) in bytes. A longer line is set aside with its first bytes, and reading goes on
    /// at the next one.
    pub max_line: usize,
    /// What a message is: a line, or a CSV record, in which line ends between quotes do not count.
    pub framing: FramingSetting,
    /// With `framing: csv`: what encloses fields.
    pub quote: Character,
    /// With `framing: csv`: what stands between fields, as in `;` or `tab`.
    pub delimiter: Character,
    /// With `framing: csv`: the first record of each file names the columns. It is no message, and goes with every message
    /// of its file instead; if the file ends within it, it is a message too.
    pub header: bool,
    /// Whether a file is one message, however many lines it has: for Avro, Arrow, or whole documents. Move such files
    /// into place when they are complete.
    pub whole: bool,
}

/// What a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FramingSetting {
    /// A line.
    #[default]
    Lines,
    /// A CSV record.
    Csv,
}

/// A time such as `500ms`, `5s`, `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Time(#[schemars(with = "String")] pub Duration);

/// When a last line without an end counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct LastLine(#[schemars(with = "String")] pub Option<Duration>);

/// One ASCII character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Character(#[schemars(with = "String")] pub u8);

impl Default for Settings {
    fn default() -> Self {
        Self {
            pattern: "*".into(),
            recursive: false,
            follow: true,
            last_line: LastLine(None),
            rotate_wait: Time(Duration::from_secs(5)),
            max_line: 16 << 20,
            framing: FramingSetting::Lines,
            quote: Character(b'"'),
            delimiter: Character(b','),
            header: false,
            whole: false,
        }
    }
}

impl Settings {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// Which do not.
    pub fn check(&self) -> Result<()> {
        let csv = self.framing == FramingSetting::Csv;
        let wrong = match self {
            _ if self.header && !csv => "`header: true` needs `framing: csv`",
            _ if self.whole && csv => "`whole: true` leaves nothing to frame; leave `framing: csv` out",
            _ if self.max_line == 0 => "`maxLine` is at least 1",
            _ if csv && self.quote == self.delimiter => "`quote` and `delimiter` are the same",
            _ => return Ok(()),
        };
        Err(Error::invalid_config(wrong))
    }

    pub(crate) fn framer(&self) -> Framer {
        let framing = match self.framing {
            FramingSetting::Lines => Framing::Lines,
            FramingSetting::Csv => Framing::Csv { quote: self.quote.0, delimiter: self.delimiter.0 },
        };
        Framer { framing, max: self.max_line }
    }
}

/// Reads a setting from its text. The reader of settings adds the name to what a visitor says.
struct From<T>(fn(&str) -> Option<T>, &'static str);

impl<T> Visitor<'_> for From<T> {
    type Value = T;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<T, E> {
        (self.0)(text).ok_or_else(|| E::custom(format_args!("it must be {}", self.1)))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_str(From(|text| time(text).map(Self), "a time, such as 500ms, 5s or 1m"))
    }
}

impl<'de> Deserialize<'de> for LastLine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let read =
            |text: &str| if text == "never" { Some(Self(None)) } else { time(text).map(|time| Self(Some(time))) };
        from.deserialize_str(From(read, "`never`, or a time, such as 10s"))
    }
}

impl<'de> Deserialize<'de> for Character {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let read = |text: &str| match text.as_bytes() {
            b"tab" | b"\\t" => Some(Self(b'\t')),
            [one] if one.is_ascii() && !b"\r\n".contains(one) => Some(Self(*one)),
            _ => None,
        };
        from.deserialize_str(From(read, "one ASCII character, or `tab`"))
    }
}

fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let ms = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use spout_guest::testing;

    use super::*;

    #[test]
    fn settings_are_read_from_texts() {
        let settings: Settings = testing::settings(&[
            ("pattern", "*.x"),
            ("follow", "false"),
            ("maxLine", "10"),
            ("lastLine", "1m"),
            ("framing", "csv"),
            ("delimiter", "\\t"),
        ])
        .unwrap();
        assert!(!settings.follow && settings.max_line == 10 && settings.delimiter == Character(b'\t'));
        assert_eq!(settings.last_line.0, Some(Duration::from_secs(60)));
        let tab: Settings = testing::settings(&[("framing", "csv"), ("delimiter", "tab")]).unwrap();
        assert_eq!(tab.delimiter, Character(b'\t'));
        assert_eq!(testing::settings::<Settings>(&[("lastLine", "never")]).unwrap().last_line.0, None);
        for wrong in [("patern", "*"), ("rotateWait", "5"), ("lastLine", "soon"), ("quote", "''"), ("framing", "json")]
        {
            let error = testing::settings::<Settings>(&[wrong]).unwrap_err().to_string();
            assert!(error.contains(wrong.0), "{error}");
        }
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let check = |list: &[(&str, &str)]| testing::settings::<Settings>(list).unwrap().check();
        check(&[]).unwrap();
        check(&[("framing", "csv"), ("header", "true")]).unwrap();
        check(&[("header", "true")]).unwrap_err();
        check(&[("framing", "csv"), ("whole", "true")]).unwrap_err();
        check(&[("framing", "csv"), ("quote", ",")]).unwrap_err();
        check(&[("maxLine", "0")]).unwrap_err();
    }
}
