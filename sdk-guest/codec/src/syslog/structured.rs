//! RFC 5424 structured data, and its conversion into one value.

use std::borrow::Cow;

use crate::{
    columns::write_json,
    reason::{Place, quote},
};

/// Most parameters of one message.
const MOST_PARAMS: usize = 1 << 16;
/// Bytes that ids may take in the names of a map.
const MOST_IDS: usize = 4 << 20;

/// `[id name="value" …]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) id: &'a str,
    /// In message order; names may repeat.
    pub(super) params: Vec<(&'a str, Cow<'a, str>)>,
}

/// The elements in `text` at `at`, and where they end.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn elements(text: &str, mut at: usize) -> Result<(Vec<Element<'_>>, usize), String> {
    let mut elements: Vec<Element<'_>> = Vec::new();
    let (open, mut count) = (at, 0);
    while text.as_bytes().get(at) == Some(&b'[') {
        let (id, end) = name(text, at + 1)?;
        let mut element = Element { id, params: Vec::new() };
        at = end;
        loop {
            match text.as_bytes().get(at..) {
                Some([b']', ..]) => break,
                Some([b' ', ..]) => {
                    let (name, value) = name(text, at + 1)?;
                    let Some([b'=', b'"', ..]) = text.as_bytes().get(value..) else {
                        return Err(wrong(
                            &format!("behind parameter {} there must be =\"value\", not", quote(name.as_bytes())),
                            text,
                            value,
                        ));
                    };
                    let (value, end) = value_of(text, value + 2, name)?;
                    element.params.push((name, value));
                    at = end;
                    count += 1;
                    if count > MOST_PARAMS {
                        let what = format!("the structured data has more than {MOST_PARAMS} parameters, near");
                        return Err(wrong(&what, text, at));
                    }
                }
                _ => {
                    return Err(wrong(
                        "an element of structured data must go on with a blank or `]`, not with",
                        text,
                        at,
                    ));
                }
            }
        }
        at += 1;
        elements.push(element);
    }
    let mut ids: Vec<&str> = elements.iter().map(|element| element.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some([id, _]) => {
            Err(format!("the structured data has two elements {},{}", quote(id.as_bytes()), Place::Byte(open)))
        }
        _ => Ok((elements, at)),
    }
}

/// A name at `from`, and where it ends.
fn name(text: &str, from: usize) -> Result<(&str, usize), String> {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.bytes().take_while(|byte| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"')).count();
    match rest.get(..length) {
        Some(name) if length > 0 => Ok((name, from + length)),
        _ => Err(wrong("a name in structured data is missing before", text, from)),
    }
}

/// The value whose quote opens before `from`, and where it ends.
fn value_of<'a>(text: &'a str, from: usize, name: &str) -> Result<(Cow<'a, str>, usize), String> {
    let rest = text.get(from..).unwrap_or_default();
    let (mut plain, mut taken) = (String::new(), 0);
    let mut bytes = rest.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let last = rest.get(taken..index).unwrap_or_default();
                let value = if taken == 0 { Cow::Borrowed(last) } else { Cow::Owned(plain + last) };
                return Ok((value, from + index + 1));
            }
            b'\\' if matches!(rest.as_bytes().get(index + 1), Some(b'"' | b'\\' | b']')) => {
                plain.push_str(rest.get(taken..index).unwrap_or_default());
                taken = index + 1;
                bytes.next();
            }
            b']' => {
                let name = quote(name.as_bytes());
                return Err(wrong(
                    &format!("the value of parameter {name} has a bare `]`; write it as `\\]`, at"),
                    text,
                    from + index,
                ));
            }
            _ => {}
        }
    }
    let name = quote(name.as_bytes());
    Err(wrong(&format!("the quote that parameter {name} opens is never closed:"), text, from.saturating_sub(1)))
}

#[cold]
pub(super) fn wrong(what: &str, text: &str, at: usize) -> String {
    match text.as_bytes().get(at..) {
        Some(rest) if !rest.is_empty() => format!("{what} {},{}", quote(rest), Place::Byte(at)),
        _ => format!("{what} the end of the message,{}", Place::Byte(at)),
    }
}

/// `{"id":{"name":"value"}}`, sorted by name; the values of a repeated name are a list.
pub(super) fn json(elements: &[Element<'_>], out: &mut Vec<u8>) {
    let mut sorted: Vec<&Element<'_>> = elements.iter().collect();
    sorted.sort_by_key(|element| element.id);
    for (at, element) in sorted.into_iter().enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        write_json(out, element.id);
        out.extend_from_slice(b":{");
        let mut params: Vec<_> = element.params.iter().collect();
        params.sort_by_key(|(name, _)| *name);
        for (at, same) in params.chunk_by(|(a, _), (b, _)| a == b).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json(out, same.first().map_or("", |(name, _)| name));
            out.push(b':');
            match same {
                [(_, value)] => write_json(out, value),
                values => {
                    for (at, (_, value)) in values.iter().enumerate() {
                        out.push(if at == 0 { b'[' } else { b',' });
                        write_json(out, value);
                    }
                    out.push(b']');
                }
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(if elements.is_empty() { b"{}" } else { b"}" });
}

/// `id.name` and value, in message order.
///
/// # Errors
/// A name repeats, which a map cannot hold.
pub(super) fn pairs(elements: &[Element<'_>]) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    // Each parameter repeats the id of its element.
    let size: usize = elements.iter().map(|element| element.id.len().saturating_mul(element.params.len())).sum();
    if size > MOST_IDS {
        return Err(format!("the names of the structured data, each with its id, take more than {MOST_IDS} bytes"));
    }
    for element in elements {
        for (name, value) in &element.params {
            pairs.push((format!("{}.{name}", element.id), value.to_string()));
        }
    }
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some([name, _]) => Err(format!(
            "the structured data has {} twice, and a map keeps one; `structuredData: json` keeps both",
            quote(name.as_bytes())
        )),
        _ => Ok(pairs),
    }
}
