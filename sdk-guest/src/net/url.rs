//! The URLs that the client takes.

use super::HttpError;

/// What of a URL a request needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// Host and port as written, for the header.
    pub(super) authority: &'a str,
    /// Host and port to connect to.
    pub(super) address: String,
    /// Path and query.
    pub(super) target: String,
    /// Whether it has to go through TLS.
    pub(super) secure: bool,
}

impl<'a> Url<'a> {
    pub(super) fn parse(url: &'a str) -> Result<Self, HttpError> {
        let wrong = |what: &str| HttpError::Url(format!("`{}` {what}", url.escape_debug()));
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(wrong("has a space or a control character in it; encode it as %20"));
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("is not a URL; write http://host:port/path"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("has another scheme than http and https")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.contains(['@', '\\']) {
            return Err(wrong("has no plain host; write http://host:port/path"));
        }
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let address = match port {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            Some(_) => return Err(wrong("has a port that is none")),
            None => format!("{authority}:{}", if secure { 443 } else { 80 }),
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { authority, address, target, secure })
    }
}

/// A text as a part of a URL: what is not a letter or a digit of ASCII, nor one of `-._~` or of `kept`, as `%20`.
#[must_use]
pub fn escaped(text: &str, kept: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Where `location` leads, which a response to a request of `from` says.
pub(super) fn join(from: &str, location: &str) -> Result<String, HttpError> {
    let wrong = || HttpError::Protocol(format!("its location `{}` is none", location.escape_debug()));
    let (scheme, rest) = from.split_once("://").ok_or_else(wrong)?;
    let scheme_ends = location.find([':', '/', '?', '#']).filter(|at| location[*at..].starts_with(':'));
    if scheme_ends.is_some() {
        return Ok(location.to_owned());
    }
    if location.starts_with("//") {
        return Ok(format!("{scheme}:{location}"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = target.split('?').next().unwrap_or_default();
    let target = match location.as_bytes().first() {
        None | Some(b'#') => target.to_owned(),
        Some(b'/') => location.to_owned(),
        Some(b'?') => format!("{path}{location}"),
        Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(dir, _)| dir)),
    };
    Ok(format!("{scheme}://{authority}{target}"))
}
