//! Bytes from text: hexadecimal digits, Base64, or the text's own bytes.

use crate::coerce::BinaryText;

/// Appends the bytes that `text` encodes; returns whether it is valid. On false, the caller must take back what was
/// appended.
pub(crate) fn decode(text: &[u8], how: BinaryText, out: &mut Vec<u8>) -> bool {
    match how {
        BinaryText::Utf8 => {
            out.extend_from_slice(text);
            true
        }
        BinaryText::Hex => hex(text, out),
        BinaryText::Base64 => base64(text, out),
    }
}

fn hex(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let all = pairs.iter().all(|[high, low]| match (digit(*high), digit(*low)) {
        (Some(high), Some(low)) => {
            out.push(high << 4 | low);
            true
        }
        _ => false,
    });
    all && rest.is_empty()
}

fn base64(text: &[u8], out: &mut Vec<u8>) -> bool {
    let kept = match text {
        [kept @ .., b'=', b'='] | [kept @ .., b'='] if text.len().is_multiple_of(4) => kept,
        text => text,
    };
    let (mut bits, mut count) = (0_u32, 0);
    for byte in kept {
        let Some(value) = sextet(*byte) else { return false };
        bits = bits << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap_or(0));
            bits &= (1 << count) - 1;
        }
    }
    // A lone sextet is no byte, and bits beyond the last byte would be lost.
    count < 6 && bits == 0
}

fn sextet(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_or_refused() {
        let check = |text: &str, how, expected: Option<&[u8]>| {
            let mut out = Vec::new();
            assert_eq!(decode(text.as_bytes(), how, &mut out).then_some(out.as_slice()), expected, "{text}");
        };
        check("00ffA5", BinaryText::Hex, Some(&[0, 0xff, 0xa5]));
        check("", BinaryText::Hex, Some(&[]));
        check("0", BinaryText::Hex, None);
        check("zz", BinaryText::Hex, None);
        check("AP+l", BinaryText::Base64, Some(&[0, 0xff, 0xa5]));
        check("AP-l", BinaryText::Base64, Some(&[0, 0xff, 0xa5]));
        check("AA==", BinaryText::Base64, Some(&[0]));
        check("AA", BinaryText::Base64, Some(&[0]));
        check("AAA=", BinaryText::Base64, Some(&[0, 0]));
        for wrong in ["A", "AB==", "A===", "A A=", "AA=", "=", "AA==AA=="] {
            check(wrong, BinaryText::Base64, None);
        }
        check("né", BinaryText::Utf8, Some("né".as_bytes()));
    }
}
