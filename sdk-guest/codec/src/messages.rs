//! Messages as the line formats see them: text without a byte order mark, without tombstones.

use crate::{Input, reason::Place};

/// Calls `each` with every message that is not null.
pub(crate) fn each<'a>(input: &Input<'a>, mut each: impl FnMut(usize, u32, &'a [u8])) {
    let mut nulls = input.nulls.iter().copied().peekable();
    for index in 0..input.len() {
        let message = u32::try_from(index).unwrap_or(u32::MAX);
        if nulls.next_if_eq(&message).is_none() {
            each(index, message, input.value(index));
        }
    }
}

/// The text of a message, and where it begins: after a byte order mark, if any.
///
/// # Errors
/// It is not UTF-8, or has a NUL byte.
pub(crate) fn text(value: &[u8]) -> Result<(&str, usize), String> {
    match std::str::from_utf8(value) {
        Ok(text) => match value.iter().position(|&byte| byte == 0) {
            Some(at) => Err(format!("there is a NUL byte,{}", Place::Byte(at))),
            None => Ok((text, if text.starts_with('\u{feff}') { 3 } else { 0 })),
        },
        Err(_) if value.starts_with(b"\xff\xfe") || value.starts_with(b"\xfe\xff") => {
            Err("the message is UTF-16; only UTF-8 is read".into())
        }
        Err(error) => Err(format!("the message is not UTF-8,{}", Place::Byte(error.valid_up_to()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_utf_8_without_nul() {
        assert_eq!(text(b"\xef\xbb\xbfab"), Ok(("\u{feff}ab", 3)));
        assert_eq!(text(b"a"), Ok(("a", 0)));
        assert_eq!(text(b"ab\0c").unwrap_err(), "there is a NUL byte, at byte 2");
        assert_eq!(text(b"ab\xffc").unwrap_err(), "the message is not UTF-8, at byte 2");
        assert!(text(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
    }

    #[test]
    fn tombstones_are_left_out() {
        let input = Input { bounds: &[0, 1, 2, 3], bytes: b"abc", nulls: &[1], ..Input::default() };
        let mut seen = Vec::new();
        each(&input, |index, message, value| seen.push((index, message, value)));
        assert_eq!(seen, [(0, 0, &b"a"[..]), (2, 2, &b"c"[..])]);
    }
}
