//! Decoders: of payloads alone, and of all that messages have.

use spout_guest::{Columns, Decoded, Decoder, Fault, Message, Messages, NoSettings, Opening, Result, Schema};

/// Payloads as text.
#[derive(Debug)]
pub(crate) struct Plain;

impl Decoder for Plain {
    type Settings = NoSettings;

    fn open(_: NoSettings, _: Opening) -> Result<Self> {
        Ok(Self)
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        messages.decode(|message| message.text(), |lines| Columns::new().str("line", lines.iter().copied()))
    }
}

/// Payloads with key, headers, time and partition; `crash` crashes.
#[derive(Debug)]
pub(crate) struct Envelope;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn headers(message: &Message<'_>) -> String {
    message.headers().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

fn row(message: Message<'_>) -> std::result::Result<(i64, String, Message<'_>), Fault> {
    let text = message.text()?;
    assert!(text != "crash", "as ordered");
    let n = text.parse().map_err(|error| ("envelope.number", format!("{text}: {error}")))?;
    Ok((n, headers(&message), message))
}

fn columns(rows: &[(i64, String, Message<'_>)]) -> Columns {
    Columns::new()
        .i64("n", rows.iter().map(|(n, ..)| *n))
        .str("headers", rows.iter().map(|(_, headers, _)| headers.as_str()))
        .str("key", rows.iter().map(|(.., message)| message.key().map(text)))
        .i64("sent", rows.iter().map(|(.., message)| message.timestamp_ms()))
        .u32("partition", rows.iter().map(|(.., message)| message.partition()))
}

impl Decoder for Envelope {
    type Settings = NoSettings;

    fn open(_: NoSettings, _: Opening) -> Result<Self> {
        Ok(Self)
    }

    fn output(&self) -> Option<Schema> {
        Some(columns(&[]).schema())
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        messages.decode(row, columns)
    }
}

/// What its rows have, so that a spec can say what a rebuilt decoder would.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Columns of each row.
    rows: Vec<Column>,
    /// Whether they are declared.
    #[serde(default)]
    declared: bool,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Column {
    /// `line`, the payload as text.
    Line,
    /// `line`, the payload as a number.
    Number,
    /// `length`, the bytes of the payload.
    Length,
}

/// Payloads in the columns that its settings name, whatever was settled.
#[derive(Debug)]
pub(crate) struct Shaped(Shape);

impl Shaped {
    fn columns(&self, lines: &[&str]) -> Columns {
        self.0.rows.iter().fold(Columns::new(), |columns, column| match column {
            Column::Line => columns.str("line", lines.iter().copied()),
            Column::Number => columns.i64("line", lines.iter().map(|line| line.parse::<i64>().ok())),
            Column::Length => columns.i64("length", lines.iter().map(|line| line.len() as i64)),
        })
    }
}

impl Decoder for Shaped {
    type Settings = Shape;

    fn open(shape: Shape, _: Opening) -> Result<Self> {
        Ok(Self(shape))
    }

    fn output(&self) -> Option<Schema> {
        self.0.declared.then(|| self.columns(&[]).schema())
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        messages.decode(|message| message.text(), |lines| self.columns(lines))
    }
}
