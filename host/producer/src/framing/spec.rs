//! How a spec says where messages end in a stream of bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_codec::csv::Style;
use spout_data::ByteSize;
use spout_plugin::{Setting, Settings};

/// Where messages end in a stream of bytes, as in `{type: lines}` or `{type: length, prefix: u32, compression: zstd}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FramingSpec {
    /// How messages are delimited, as in `lines`.
    #[serde(rename = "type")]
    pub kind: FramingType,
    /// How the stream is compressed, as in `gzip`.
    pub compression: Compression,
    /// The largest message, as in `1MiB`; a larger one is an error.
    #[serde(alias = "max_frame")]
    pub max_frame: ByteSize,
    /// How many times larger than the compressed bytes the unpacked ones may be, as in `1000`; more is treated as an attack.
    #[serde(alias = "max_growth")]
    pub max_growth: u32,
    /// `length` only: how the length is written, as in `u32` (without it) or `varint`.
    pub prefix: Option<LengthPrefix>,
    /// `length` only: byte order of the length, as in `big` (without it) or `little`.
    pub order: Option<ByteOrder>,
    /// `csv` only: the delimiter between values, as in `;`. Without it, a comma.
    pub delimiter: Option<char>,
    /// `csv` only: what quotes a value, as in `'`. Without it, a double quote.
    pub quote: Option<char>,
}

impl Default for FramingSpec {
    fn default() -> Self {
        Self {
            kind: FramingType::default(),
            compression: Compression::default(),
            max_frame: ByteSize(16 << 20),
            max_growth: 1000,
            prefix: None,
            order: None,
            delimiter: None,
            quote: None,
        }
    }
}

/// The ways to delimit messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FramingType {
    /// A line is a message, without its `\n` or `\r\n`; blank lines are skipped.
    #[default]
    Lines,
    /// A CSV record is a message: line ends within quotes belong to it.
    Csv,
    /// Each message has its length in front, in binary.
    Length,
    /// Netstrings: `5:hello,`.
    Netstring,
    /// Ten ASCII digits with the length, then the message.
    Digits,
    /// Syslog over TCP (RFC 6587): `5 hello` by count, or a line where a message begins with `<`.
    Octet,
    /// The whole stream is one message.
    None,
}

impl FramingType {
    /// Whether the first message of a stream may name what is in all others: it is one record of several.
    #[must_use]
    pub fn has_records(self) -> bool {
        matches!(self, Self::Lines | Self::Csv)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Csv => "csv",
            Self::Length => "length",
            Self::Netstring => "netstring",
            Self::Digits => "digits",
            Self::Octet => "octet",
            Self::None => "none",
        }
    }
}

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Nothing: the bytes are plain.
    #[default]
    None,
    /// Gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
    /// Gzip or Zstandard if the stream begins like it, plain otherwise.
    Auto,
}

/// How the length in front of a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LengthPrefix {
    /// Two bytes.
    U16,
    /// Four bytes.
    #[default]
    U32,
    /// Eight bytes.
    U64,
    /// Seven bits a byte, the lowest first, as Protobuf does.
    Varint,
}

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ByteOrder {
    /// The highest, as on the network.
    #[default]
    Big,
    /// The lowest.
    Little,
}

/// How CSV is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvStyle {
    /// What is between fields.
    pub delimiter: char,
    /// What quotes a field.
    pub quote: char,
    /// Whether the first record names the columns, where the settings say so or otherwise.
    pub header: Option<bool>,
}

impl CsvStyle {
    /// What settings of a plugin say; `None` if that is nothing the plugin takes, which it says itself.
    #[must_use]
    pub fn of(settings: &Settings) -> Option<Self> {
        let text = |name: &str| settings.0.get(name).map(Setting::to_string);
        let delimiter = match text("delimiter") {
            Some(delimiter) => Style::delimiter_of(&delimiter).ok()?,
            None => ',',
        };
        let quote = text("quote").map_or(Some('"'), |quote| quote.parse().ok())?;
        Some(Self { delimiter, quote, header: text("header").and_then(|header| header.parse().ok()) })
    }
}

impl FramingSpec {
    /// How records are told apart, if messages are CSV records.
    #[must_use]
    pub fn csv(&self) -> Option<CsvStyle> {
        let (delimiter, quote) = (self.delimiter.unwrap_or(','), self.quote.unwrap_or('"'));
        (self.kind == FramingType::Csv).then_some(CsvStyle { delimiter, quote, header: None })
    }

    /// What is wrong with the settings of a source that has this as `framing`.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        self.check().err().map(|why| ("framing", why))
    }

    /// Whether the settings go together.
    ///
    /// # Errors
    /// The setting that does not, and what to do.
    pub fn check(&self) -> Result<(), String> {
        let kind = self.kind.name();
        let only = |key: &str, set: bool, of: FramingType| {
            if set && self.kind != of {
                Err(format!("`{key}` belongs to type {}, not to {kind}; remove it", of.name()))
            } else {
                Ok(())
            }
        };
        only("prefix", self.prefix.is_some(), FramingType::Length)?;
        only("order", self.order.is_some(), FramingType::Length)?;
        only("delimiter", self.delimiter.is_some(), FramingType::Csv)?;
        only("quote", self.quote.is_some(), FramingType::Csv)?;
        if self.prefix == Some(LengthPrefix::Varint) && self.order.is_some() {
            return Err("a varint has no `order`; remove it".into());
        }
        for (key, value) in [("delimiter", self.delimiter), ("quote", self.quote)] {
            if value.is_some_and(|value| !value.is_ascii() || matches!(value, '\r' | '\n')) {
                return Err(format!("`{key}` must be one ASCII character, and no line end"));
            }
        }
        if self.delimiter.unwrap_or(',') == self.quote.unwrap_or('"') {
            return Err("`delimiter` and `quote` are the same; choose two".into());
        }
        if !(1..=1 << 30).contains(&self.max_frame.0) {
            return Err("`maxFrame` must be between 1 byte and 1GiB".into());
        }
        match self.max_growth {
            0 => Err("`maxGrowth` must be at least 1".into()),
            _ => Ok(()),
        }
    }
}
