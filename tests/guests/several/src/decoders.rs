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
