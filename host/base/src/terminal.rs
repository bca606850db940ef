//! Text on its way to a terminal: whatever could move the cursor, colour, or turn the direction of writing is spelled out.
//!
//! Data, file names and what plugins say come from strangers. A terminal obeys control characters, and a mark that turns the
//! direction of writing makes a line read as another one. So all that is shown to people goes through [`plain`] or [`text`],
//! and JSON through [`json`], which writes the same values in other letters.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Whether a terminal, or the eye, would be led astray by `c`.
///
/// These are the C0 and C1 controls with escape and delete, the marks that turn the direction of writing, the separators of
/// lines and paragraphs, the byte order mark, and the invisible tags.
#[must_use]
pub fn misleads(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hides = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || turns || hides
}

/// `text` on one line, with `\n`, `\t`, `\u{1b}` and their like in the place of what [`misleads`].
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The same for text that may have several lines.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// The text in at most so many columns of a terminal, with `…` where it was cut.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn escaped(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let odd = |c: char| misleads(c) && !allowed(c);
    match text.contains(odd) {
        true => text.chars().fold(String::with_capacity(text.len() + 16), |mut out, c| {
            if odd(c) {
                out.extend(c.escape_default())
            } else {
                out.push(c)
            }
            out
        }),
        false => return Cow::Borrowed(text),
    }
    .into()
}

/// JSON whose strings hold nothing that [`misleads`]: the same values, with `\u009b` and its like. `text` is JSON, or lines of
/// it, so that what writers of JSON leave raw stands within strings.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // JSON is never raw below U+0020 but for the white space between values.
    let odd = |c: char| c > '\u{1f}' && misleads(c);
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if odd(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"))
        } else {
            out.push(c)
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_misleads_is_left() {
        let check = |given: &str, expected: &str| assert_eq!(plain(given), expected);
        check("größe 日本 👩‍🚀", "größe 日本 👩‍🚀");
        check("a\tb\r\nc", "a\\tb\\r\\nc");
        check("\u{1b}[31mred\u{1b}]0;title\u{7}", "\\u{1b}[31mred\\u{1b}]0;title\\u{7}");
        check("csi \u{9b}2J, del \u{7f}, nul \0", "csi \\u{9b}2J, del \\u{7f}, nul \\u{0}");
        check("txt.\u{202e}exe \u{2066}x\u{2069}\u{200f}", "txt.\\u{202e}exe \\u{2066}x\\u{2069}\\u{200f}");
        check("\u{feff}a\u{2028}b\u{e0041}", "\\u{feff}a\\u{2028}b\\u{e0041}");
        assert_eq!(text("a\nb\u{1b}\n"), "a\nb\\u{1b}\n");
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = plain(c.encode_utf8(&mut [0; 4])).into_owned();
            assert!(!shown.chars().any(misleads), "{c:?}");
        }
    }

    #[test]
    fn json_says_the_same_in_other_letters() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let written = serde_json::to_string(&all).unwrap() + "\n";
        let shown = json(&written);
        assert!(shown.lines().count() == 1 && !shown.trim_end().chars().any(misleads));
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), all);
        assert!(matches!(json("{\"a\":\"ü\"}\n{}\n"), Cow::Borrowed(_)));
    }
}
