//! What a message has besides its body: properties, and tables of headers whose values have types.

use bytes::{Buf as _, Bytes};
use serde_json::{Number, Value as Json};

/// How deep tables and arrays may be in each other.
const DEPTH: usize = 16;

/// The properties of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Properties {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    /// Names and values, in their order; texts as they are, anything else as JSON.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) message_id: Option<String>,
    /// Seconds since 1970.
    pub(crate) timestamp: Option<u64>,
    pub(crate) kind: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) app_id: Option<String>,
}

/// A text with its length in one byte. What is not UTF-8 is replaced.
pub(crate) fn short(body: &mut Bytes) -> Option<String> {
    let length = usize::from(body.try_get_u8().ok()?);
    (length <= body.len()).then(|| String::from_utf8_lossy(&body.split_to(length)).into_owned())
}

/// Bytes with their length in four.
pub(crate) fn long(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(body.try_get_u32().ok()?).ok()?;
    (length <= body.len()).then(|| body.split_to(length))
}

/// Takes flags and the properties that they announce; `None` if it is none of that.
pub(crate) fn properties(body: &mut Bytes) -> Option<Properties> {
    let flags = body.try_get_u16().ok()?;
    let mut found = Properties::default();
    // More flags than there are properties.
    if flags & 3 != 0 {
        return None;
    }
    let mut set = (0..14).map(|bit| flags & (0x8000 >> bit) != 0);
    let text = |body: &mut Bytes, set: Option<bool>| if set == Some(true) { short(body).map(Some) } else { Some(None) };
    found.content_type = text(body, set.next())?;
    found.content_encoding = text(body, set.next())?;
    if set.next() == Some(true) {
        found.headers = table(&mut long(body)?, 0)?.into_iter().map(|(name, value)| (name, value.bytes())).collect();
    }
    for _ in 0..2 {
        // How it is stored, and how urgent it is.
        if set.next() == Some(true) {
            body.try_get_u8().ok()?;
        }
    }
    found.correlation_id = text(body, set.next())?;
    found.reply_to = text(body, set.next())?;
    let _expiration = text(body, set.next())?;
    found.message_id = text(body, set.next())?;
    if set.next() == Some(true) {
        found.timestamp = Some(body.try_get_u64().ok()?);
    }
    found.kind = text(body, set.next())?;
    found.user_id = text(body, set.next())?;
    found.app_id = text(body, set.next())?;
    let _cluster = text(body, set.next())?;
    Some(found)
}

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bytes(Bytes),
    Json(Json),
}

impl Value {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Json(Json::Null) => Vec::new(),
            Self::Json(json) => json.to_string().into_bytes(),
        }
    }

    fn json(self) -> Json {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(&bytes).into(),
            Self::Json(json) => json,
        }
    }
}

/// Reads over a table.
pub(crate) fn skip_table(body: &mut Bytes) -> Option<()> {
    table(&mut long(body)?, 0).map(drop)
}

fn table(body: &mut Bytes, depth: usize) -> Option<Vec<(String, Value)>> {
    let mut all = Vec::new();
    while !body.is_empty() {
        all.push((short(body)?, value(body, depth)?));
    }
    Some(all)
}

fn value(body: &mut Bytes, depth: usize) -> Option<Value> {
    if depth > DEPTH {
        return None;
    }
    let float = |value: f64| Number::from_f64(value).map_or_else(|| value.to_string().into(), Json::Number);
    Some(Value::Json(match body.try_get_u8().ok()? {
        b't' => (body.try_get_u8().ok()? != 0).into(),
        b'b' => body.try_get_i8().ok()?.into(),
        b'B' => body.try_get_u8().ok()?.into(),
        b's' => body.try_get_i16().ok()?.into(),
        b'u' => body.try_get_u16().ok()?.into(),
        b'I' => body.try_get_i32().ok()?.into(),
        b'i' => body.try_get_u32().ok()?.into(),
        b'l' | b'L' => body.try_get_i64().ok()?.into(),
        b'T' => body.try_get_u64().ok()?.into(),
        b'f' => float(body.try_get_f32().ok()?.into()),
        b'd' => float(body.try_get_f64().ok()?),
        b'D' => {
            let (scale, digits) = (body.try_get_u8().ok()?, body.try_get_i32().ok()?);
            format!("{digits}e-{scale}").into()
        }
        b'S' | b'x' => return long(body).map(Value::Bytes),
        b'V' => Json::Null,
        b'A' => {
            let (mut list, mut all) = (long(body)?, Vec::new());
            while !list.is_empty() {
                all.push(value(&mut list, depth + 1)?.json());
            }
            all.into()
        }
        b'F' => {
            let members = table(&mut long(body)?, depth + 1)?;
            Json::Object(members.into_iter().map(|(name, value)| (name, value.json())).collect())
        }
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_whatever_they_are() {
        let table = b"\x01aS\0\0\0\x02\xff!\x01bt\x01\x01cI\xff\xff\xff\xff\x01dd\x3f\xf8\0\0\0\0\0\0\x01eF\0\0\0\x05\x01fV\x01g\x01hA\0\0\0\x02B\x07\x01iV";
        // The inner table has one member more than fits.
        let mut broken = vec![0x20, 0, 0, 0, 0, table.len() as u8];
        broken.extend(table);
        assert_eq!(properties(&mut Bytes::from(broken)), None);
        let table = b"\x01aS\0\0\0\x02\xff!\x01bt\x01\x01cI\xff\xff\xff\xff\x01dd\x3f\xf8\0\0\0\0\0\0\x01eF\0\0\0\x03\x01fV\x01hA\0\0\0\x02B\x07\x01iV";
        let mut all = vec![0xff, 0xfc, 2, b'c', b't', 1, b'e', 0, 0, 0, table.len() as u8];
        all.extend(table);
        all.extend(b"\x02\x09\x01c\x01r\x01x\x02id\0\0\0\0\0\0\0\x05\x01t\x01u\x01a\0tail");
        let mut body = Bytes::from(all);
        let found = properties(&mut body).unwrap();
        assert_eq!(&body[..], b"tail");
        assert_eq!((found.content_type.as_deref(), found.message_id.as_deref()), (Some("ct"), Some("id")));
        assert_eq!((found.timestamp, found.app_id.as_deref(), found.kind.as_deref()), (Some(5), Some("a"), Some("t")));
        let text = |(name, value): &(String, Vec<u8>)| format!("{name}={}", value.escape_ascii());
        let headers: Vec<String> = found.headers.iter().map(text).collect();
        assert_eq!(headers, ["a=\\xff!", "b=true", "c=-1", "d=1.5", "e={\\\"f\\\":null}", "h=[7]", "i="]);
    }

    #[test]
    fn tables_in_tables_come_to_an_end() {
        let mut inner = Vec::new();
        for _ in 0..1000 {
            let mut outer = b"\x01aF".to_vec();
            outer.extend((inner.len() as u32).to_be_bytes());
            outer.extend(&inner);
            inner = outer;
        }
        let mut body = [&[0x20, 0][..], &(inner.len() as u32).to_be_bytes(), &inner].concat();
        assert_eq!(properties(&mut Bytes::from(body.clone())), None);
        body.truncate(9);
        assert_eq!(properties(&mut Bytes::from(body)), None);
        assert_eq!(properties(&mut Bytes::from_static(b"\0\x01")), None);
    }
}
