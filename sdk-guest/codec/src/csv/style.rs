//! Delimiter and quote.

use crate::{Error, Result};

/// Delimiter and quote: two different ASCII characters, neither of them a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    delimiter: u8,
    quote: u8,
}

impl Default for Style {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"' }
    }
}

impl Style {
    /// A style of these two.
    ///
    /// # Errors
    /// One of them is not allowed; the message names the setting.
    pub fn new(delimiter: char, quote: char) -> Result<Self> {
        let byte = |setting: &str, given: char| match u8::try_from(given) {
            Ok(byte) if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(byte),
            _ => Err(Error::config(format!(
                "setting `{setting}` is `{}`; it must be one ASCII character, and no line end",
                given.escape_default()
            ))),
        };
        let (delimiter, quote) = (byte("delimiter", delimiter)?, byte("quote", quote)?);
        if delimiter == quote {
            Err(Error::config("settings `delimiter` and `quote` are the same; choose two"))
        } else {
            Ok(Self { delimiter, quote })
        }
    }

    /// The delimiter that `text` stands for: itself, or a tab by one of its names.
    ///
    /// # Errors
    /// It is not a single character.
    pub fn delimiter_of(text: &str) -> Result<char> {
        let mut chars = text.chars();
        match (text, chars.next(), chars.next()) {
            ("tab" | "\\t", ..) => Ok('\t'),
            (_, Some(one), None) => Ok(one),
            _ => Err(Error::config(format!("setting `delimiter` is `{text}`; it must be one character, or `tab`"))),
        }
    }

    /// The delimiter between values.
    #[must_use]
    pub fn delimiter(self) -> u8 {
        self.delimiter
    }

    /// The quote around values.
    #[must_use]
    pub fn quote(self) -> u8 {
        self.quote
    }
}
