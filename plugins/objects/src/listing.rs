//! The answer to a `ListObjectsV2`.

use quick_xml::{Reader, events::Event};

/// How deep elements may lie in each other: those that count are in the third.
const DEEPEST: usize = 8;

/// An object as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    /// Milliseconds since 1970.
    pub(crate) modified: u64,
    pub(crate) etag: String,
    pub(crate) size: u64,
}

/// An object that was not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct New {
    pub(crate) object: Object,
    /// Why it is not read, but set aside.
    pub(crate) aside: Option<String>,
}

impl From<Object> for New {
    fn from(object: Object) -> Self {
        Self { object, aside: None }
    }
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<Object>,
    /// What to ask for the next part.
    pub(crate) more: Option<String>,
}

/// Reads an answer whose keys are encoded as in an address; what is wrong with it, if something is.
pub(crate) fn parse(xml: &str) -> Result<Listing, String> {
    let (mut reader, mut is_list) = (Reader::from_str(xml), false);
    let (mut listing, mut object) = (Listing::default(), None);
    let (mut path, mut text, mut truncated, mut token): (Vec<String>, _, _, _) =
        (Vec::new(), String::new(), false, None);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                if path.is_empty() && name != "ListBucketResult" {
                    return Err(format!("it is a `{name}`"));
                }
                if path.len() == DEEPEST {
                    return Err(format!("its elements lie more than {DEEPEST} deep"));
                }
                is_list = true;
                if path.len() == 1 && name == "Contents" {
                    object = Some(Object::default());
                }
                path.push(name);
                text.clear();
            }
            Event::Text(part) => text += &part.decode().map_err(|error| error.to_string())?,
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|error| error.to_string())?;
                text += &resolved(&name).ok_or_else(|| format!("it has the entity `{name}`"))?;
            }
            Event::CData(part) => text += &part.decode().map_err(|error| error.to_string())?,
            Event::End(_) => {
                let words: Vec<&str> = path.iter().map(String::as_str).collect();
                match (words.get(1..).unwrap_or_default(), &mut object) {
                    (["IsTruncated"], _) => truncated = text == "true",
                    (["NextContinuationToken"], _) => token = Some(std::mem::take(&mut text)),
                    (["Contents", field], Some(object)) => set(object, field, &text)?,
                    (["Contents"], done) => listing.objects.extend(done.take().filter(|object| !object.key.is_empty())),
                    _ => {}
                }
                path.pop();
            }
            Event::Eof if path.is_empty() && is_list => break,
            Event::Eof => return Err("it ends too early".into()),
            _ => {}
        }
    }
    if truncated && token.is_none() {
        return Err("it is cut, and does not say where to go on".into());
    }
    listing.more = token.filter(|_| truncated);
    Ok(listing)
}

/// What `&name;` stands for.
fn resolved(name: &str) -> Option<String> {
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some(character.to_string())
}

fn set(object: &mut Object, field: &str, text: &str) -> Result<(), String> {
    match field {
        "Key" => object.key = decoded(text).ok_or_else(|| format!("`{text}` is not a key"))?,
        "ETag" => text.clone_into(&mut object.etag),
        "Size" => object.size = text.parse().map_err(|_| format!("`{text}` is not a size"))?,
        "LastModified" => {
            let ms = spout_guest::time::timestamp(text.as_bytes(), spout_guest::TimeUnit::Millisecond);
            let ms = ms.map_err(|_| format!("`{text}` is not a time"))?;
            object.modified = u64::try_from(ms).unwrap_or(0);
        }
        _ => {}
    }
    Ok(())
}

/// A key without the encoding of addresses.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated>
<Contents><Key>a%2Fb+c%C3%A4</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;e&#34;</ETag><Size>7</Size>
<Owner><Key>x</Key></Owner></Contents><Contents><Key>d</Key><Size>0</Size></Contents>
<NextContinuationToken>1/a==</NextContinuationToken><CommonPrefixes><Prefix>p</Prefix></CommonPrefixes></ListBucketResult>"#;

    #[test]
    fn a_list_is_read() {
        let listing = parse(XML).unwrap();
        let first = Object { key: "a/b cä".into(), modified: 1_767_323_045_000, etag: "\"e\"".into(), size: 7 };
        assert_eq!(listing.objects[0], first);
        assert_eq!((listing.objects.len(), listing.more.as_deref()), (2, Some("1/a==")));
        assert_eq!(parse(&XML.replace("true", "false")).unwrap().more, None);
        assert_eq!(decoded(&spout_guest::net::escaped("a/b cä%", b"")), Some("a/b cä%".into()));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for wrong in [
            "",
            "hello",
            "<html></html>",
            "<Error><Code>NoSuchBucket</Code></Error>",
            "<ListBucketResult><Contents>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><Contents><Key>%zz</Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>&bomb;</Key></Contents></ListBucketResult>",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for at in 0..XML.len() {
            if let Some(cut) = XML.get(..at) {
                assert!(parse(cut).is_err(), "{cut}");
            }
        }
    }
}
