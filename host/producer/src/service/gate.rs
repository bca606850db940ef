//! Who may talk to a service that has a token: clients that begin with it, on a line of its own or in a request's header.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::password::Password;

/// How long a client may take to say the token.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that it may send before it is known.
const MOST: usize = 16 << 10;

/// What a request without the token is answered.
const REFUSAL: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a client has sent first.
#[derive(Debug, PartialEq, Eq)]
enum First<'a> {
    /// Not enough to know.
    Incomplete,
    /// A line that is a token, perhaps this service's, and what followed.
    Line(&'a [u8], &'a [u8]),
    /// The head of an HTTP request with a token, perhaps this service's.
    Request(Option<&'a [u8]>),
}

/// What of the client's bytes the plugin gets, if the client is let in. One who is not is told so, where it speaks HTTP.
///
/// # Errors
/// If the client goes away, or takes too long.
pub(super) async fn admit<S>(client: &mut S, password: &Password) -> io::Result<Option<Vec<u8>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut sent = Vec::new();
    let first = async {
        while begin(&sent) == First::Incomplete && sent.len() < MOST {
            if client.read_buf(&mut sent).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(())
    };
    timeout(PATIENCE, first).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match begin(&sent) {
        First::Line(token, rest) if password.is(token) => Ok(Some(rest.to_vec())),
        First::Request(Some(token)) if password.is(token) => Ok(Some(sent)),
        First::Request(_) => {
            client.write_all(REFUSAL).await?;
            client.shutdown().await?;
            Ok(None)
        }
        First::Line(..) | First::Incomplete => Ok(None),
    }
}

fn begin(sent: &[u8]) -> First<'_> {
    let Some((line, rest)) = line(sent) else { return First::Incomplete };
    if !(line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")) {
        return First::Line(line, rest);
    }
    let (mut rest, mut token) = (rest, None);
    loop {
        match self::line(rest) {
            None => return First::Incomplete,
            Some((b"", _)) => return First::Request(token),
            Some((header, after)) => {
                token = token.or(bearer(header));
                rest = after;
            }
        }
    }
}

/// The first line of `bytes`, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = bytes.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), bytes.get(end + 1..)?))
}

/// The token of an `Authorization` header.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let colon = header.iter().position(|&byte| byte == b':')?;
    let (name, value) = header.split_at(colon);
    let value = value.get(1..)?.trim_ascii();
    let (scheme, token) = value.split_at_checked(7)?;
    (name.eq_ignore_ascii_case(b"authorization") && scheme.eq_ignore_ascii_case(b"bearer ")).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_first_line_or_a_header() {
        let check = |sent: &str, expected: First<'_>| {
            assert_eq!(begin(sent.as_bytes()), expected, "{sent:?}");
            for end in 0..sent.len() {
                // Nothing is decided by a part of it, unless that part decides.
                let part = begin(&sent.as_bytes()[..end]);
                assert!(part == First::Incomplete || sent.as_bytes()[..end].contains(&b'\n'), "{sent:?} to {end}");
            }
        };
        check("", First::Incomplete);
        check("s3cret", First::Incomplete);
        check("s3cret\n", First::Line(b"s3cret", b""));
        check("s3cret\r\nhello\n", First::Line(b"s3cret", b"hello\n"));
        check("GET / HTTP/1.1\r\nHost: a\r\n", First::Incomplete);
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", First::Request(None));
        check("GET / HTTP/1.1\r\nauthorization: bearer  s3cret \r\n\r\nbody", First::Request(Some(b"s3cret")));
        check("GET / HTTP/1.1\r\nAuthorization: Basic abcdefgh\r\n\r\n", First::Request(None));
        check("POST / HTTP/1.0\nAuthorization: Bearer a\nAuthorization: Bearer b\n\n", First::Request(Some(b"a")));
    }
}
