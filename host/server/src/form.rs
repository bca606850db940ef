//! The parts of a `multipart/form-data` body, one after the other while it comes; none of them is held whole.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes of the head of a part.
const HEAD: usize = 16 << 10;
/// Longest boundary that RFC 2046 allows.
const BOUNDARY: usize = 70;
/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// A form that is read from `R`.
#[derive(Debug)]
pub(crate) struct Form<R> {
    from: R,
    /// Read, and not yet given away.
    buffer: BytesMut,
    /// What stands before each part, and behind the last one.
    delimiter: Vec<u8>,
    /// Within a part: its end was not yet met.
    within: bool,
    cut: bool,
}

/// The head of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: String,
    /// The name of the file that it was.
    pub(crate) file: Option<String>,
}

/// The content of the part.
#[derive(Debug)]
pub(crate) struct Content<'a, R>(&'a mut Form<R>);

impl<R: AsyncRead + Unpin> Form<R> {
    /// The form in `from`, whose media type says its boundary.
    pub(crate) fn new(media: &str, from: R) -> Result<Self, String> {
        let (kind, parameters) = media.split_once(';').unwrap_or((media, ""));
        let boundary = parameter(parameters, "boundary");
        let boundary = boundary.filter(|boundary| (1..=BOUNDARY).contains(&boundary.len()));
        match boundary.filter(|_| kind.trim().eq_ignore_ascii_case("multipart/form-data")) {
            Some(boundary) => {
                let delimiter = format!("\r\n--{boundary}").into_bytes();
                // The first delimiter needs no line before it.
                let buffer = BytesMut::from(&b"\r\n"[..]);
                Ok(Self { from, buffer, delimiter, within: true, cut: false })
            }
            None => Err("it takes a form with a boundary, as `curl -F /a.txt=@a.txt -F /b.txt=@b.txt` sends it".into()),
        }
    }

    /// Goes to the next part; none behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, String> {
        let mut rest = [0; 8 << 10];
        while self.within {
            let read = self.content().read(&mut rest).await.map_err(|_| self.broken().unwrap_or_default())?;
            if read == 0 {
                break;
            }
        }
        self.fill(2).await?;
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let head = loop {
            // A part without a header has its empty line at once.
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                break head;
            }
            if self.buffer.len() > HEAD {
                return Err(format!("the head of a part of the form has more than {HEAD} bytes"));
            }
            self.fill(self.buffer.len() + 1).await?;
        };
        self.within = true;
        let head = String::from_utf8(head.to_vec()).map_err(|_| "the head of a part of the form is not UTF-8")?;
        named(&head).map(Some)
    }

    /// The content of the part.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// That the form was cut off while it was read.
    pub(crate) fn broken(&self) -> Option<String> {
        self.cut.then(|| "the form ends before its closing boundary".to_owned())
    }

    /// Reads until there are so many bytes.
    async fn fill(&mut self, count: usize) -> Result<(), String> {
        while self.buffer.len() < count {
            self.buffer.reserve(READ);
            let read = self.from.read_buf(&mut self.buffer).await;
            if !read.is_ok_and(|read| read > 0) {
                self.cut = true;
                return Err(self.broken().unwrap_or_default());
            }
        }
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Content<'_, R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let form = &mut *self.get_mut().0;
        loop {
            if !form.within || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let end = memmem::find(&form.buffer, &form.delimiter);
            if end == Some(0) {
                form.buffer.advance(form.delimiter.len());
                form.within = false;
                continue;
            }
            // The end of what is there may be the beginning of a delimiter.
            let sure = end.unwrap_or_else(|| (form.buffer.len() + 1).saturating_sub(form.delimiter.len()));
            if sure > 0 {
                let count = sure.min(into.remaining());
                into.put_slice(&form.buffer[..count]);
                form.buffer.advance(count);
                return Poll::Ready(Ok(()));
            }
            form.buffer.reserve(READ);
            match ready!(poll_read_buf(Pin::new(&mut form.from), cx, &mut form.buffer)) {
                Ok(0) => {
                    form.cut = true;
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(_) => {}
                Err(error) => {
                    form.cut = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

/// What the head of a part says of it.
fn named(head: &str) -> Result<Part, String> {
    let header = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut header = header.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let said = header.next().map(|(_, said)| said.split_once(';').unwrap_or((said, "")));
    let said = said.filter(|(kind, _)| kind.trim().eq_ignore_ascii_case("form-data"));
    let (_, parameters) = said.ok_or("a part of the form has no `Content-Disposition: form-data`")?;
    let name = parameter(parameters, "name").filter(|name| !name.is_empty());
    let name = name.ok_or("a part of the form has no name; name it by the path that it is to have")?;
    Ok(Part { name, file: parameter(parameters, "filename").filter(|file| !file.is_empty()) })
}

/// A parameter of a header, quoted or not. Within quotes, browsers and curl write `%22` or `\"` for a quote.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim();
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let (value, after) = value.split_once(';').unwrap_or((value, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// The text up to its closing quote, and what follows that.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let text = text.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
                return Some((text, &quoted[at + 1..]));
            }
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => text.extend(chars.next().map(|(_, c)| c)),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes a few at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl AsyncRead for Slow<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let count = self.0.len().min(self.1).min(into.remaining());
            into.put_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Poll::Ready(Ok(()))
        }
    }

    async fn read(text: &[u8], at_once: usize) -> Result<Vec<(Part, Vec<u8>)>, String> {
        let mut form = Form::new("multipart/form-data; boundary=xyz", Slow(text, at_once))?;
        let mut parts = Vec::new();
        while let Some(part) = form.next().await? {
            let mut content = Vec::new();
            let read = form.content().read_to_end(&mut content).await;
            read.map_err(|_| form.broken().unwrap())?;
            parts.push((part, content));
        }
        Ok(parts)
    }

    fn part(name: &str, file: Option<&str>) -> Part {
        Part { name: name.into(), file: file.map(Into::into) }
    }

    #[tokio::test]
    async fn parts_are_found_however_bytes_arrive() {
        let head = "Content-Disposition: form-data; name=";
        let text = format!(
            "before\r\n--xyz\r\n{head}\"/a\"; filename=\"x;\\\"y\\\".txt\"\r\nContent-Type: text/plain\r\n\r\none\r\n--xy\r\n\r\n\
             --xyz\r\n{head}\"/%22b%22/\"\r\n\r\n\r\n--xyz\r\n{head}c\r\n\r\n--xyz\r\n--xyz--\r\nafter"
        );
        for at_once in [1, 2, 3, 10, 100_000] {
            let parts = read(text.as_bytes(), at_once).await.unwrap();
            let expected = [
                (part("/a", Some("x;\"y\".txt")), b"one\r\n--xy\r\n".to_vec()),
                (part("/\"b\"/", None), Vec::new()),
                (part("c", None), b"--xyz".to_vec()),
            ];
            assert_eq!(parts, expected, "{at_once}");
        }
        assert_eq!(read(b"--xyz--", 3).await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_is_no_whole_form_is_an_error() {
        let head = "--xyz\r\nContent-Disposition: form-data; name=\"/a\"\r\n\r\n";
        for text in [
            String::new(),
            "nothing".into(),
            "--xyz\r\n\r\nx\r\n--xyz--".into(),
            "--xyz\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xyz--".into(),
            "--xyz\r\nContent-Disposition: attachment; name=x\r\n\r\nx\r\n--xyz--".into(),
            head.into(),
            format!("{head}x"),
            format!("{head}x\r\n--xy"),
            format!("{head}x\r\n--xyz"),
            format!("{head}x\r\n--xyz\r\nContent-Disposition: form-data; name=\"/b\"\r\n"),
            format!("--xyz\r\n{}", "x".repeat(HEAD + READ)),
        ] {
            for at_once in [1, 100_000] {
                assert!(read(text.as_bytes(), at_once).await.is_err(), "{text:.100}");
            }
        }
        for media in ["", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x"] {
            assert!(Form::new(media, Slow(b"", 1)).is_err(), "{media}");
        }
    }
}
