//! Fuzz targets: what a server of HTTP answers, however it is cut, and where it says that something else is.

use std::io::{self, Read, Write as _};

use flate2::{Compression, write::GzEncoder};
use spout_fuzz::{Corpus, Counting, Target};

use super::{
    Client, HttpError, Response,
    url::{Url, join},
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Most bytes of a body here.
const BODY: usize = 64 << 10;

/// Bytes that come in pieces of this size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(into.len()).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        into[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

/// Chunks, trailers, folded headers, gzip and its bombs: an answer or an error, the same however it comes, and never more than asked for.
#[test]
fn http_answers() {
    let zipped = |body: &[u8]| {
        let body = packed(body);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    };
    let whole: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n5;x=\"y\"\r\nhello\r\n1\r\n!\r\n0\r\na: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end",
        b"HTTP/1.1 302 Found\r\nLocation: //other/x?y#z\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 304 Not Modified\r\nETag: W/\"1\"\r\n\r\n",
    ];
    let words = [
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "\r\n\r\n",
        "\r\n ",
        "0\r\n\r\n",
        "ffffffffffffffff",
        "18446744073709551615",
        "HTTP/1.1 199 x\r\n\r\n",
    ];
    let corpus = Corpus::of(whole).and([zipped(b"hello"), zipped(&[0; BODY + 1])]).words(&words);
    let read = |bytes: &[u8], size: usize| -> Result<Response, String> {
        let client = Client::new().gzip(true).max_body(BODY);
        client.receive(Pieces(bytes, size), "GET").map_err(|error: HttpError| error.to_string())
    };
    Target::new("http-answers", 20_000).within(4 << 20).bytes(&corpus, |bytes| {
        let answer = read(bytes, usize::MAX);
        for size in [1, 7] {
            assert_eq!(answer, read(bytes, size), "cuts change nothing");
        }
        if let Ok(answer) = &answer {
            assert!(answer.body.len() <= BODY && (200..1000).contains(&answer.status), "{answer:?}");
            let plain = |(name, value): &(String, String)| !name.is_empty() && !(name.clone() + value).contains('\n');
            assert!(answer.headers.iter().all(plain), "{answer:?}");
        }
        answer.is_ok()
    });
}

/// Where a redirect leads is one address, and what is asked there one line.
#[test]
fn http_locations() {
    let inputs = [
        "http://b.example:81/x",
        "https://b.example/x?y#z",
        "//b.example",
        "/x",
        "?y",
        "#z",
        "x/../y",
        "",
        "HTTP://[::1]:80/",
        "http://user@b.example/",
    ];
    let words = ["http://", "//", "@", "\r\n", "\\", "#", "?", ":", "%0d%0a", "[", "]", " "];
    let corpus = Corpus::of(inputs.map(str::as_bytes)).words(&words);
    Target::new("http-locations", 20_000).within(1 << 20).bytes(&corpus, |bytes| {
        let Ok(location) = std::str::from_utf8(bytes) else { return false };
        let Ok(next) = join("https://a.example:8443/dir/page?q=1#here", location) else { return false };
        let Ok(url) = Url::parse(&next) else { return false };
        let sound = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        assert!(sound(url.authority) && sound(&url.address) && sound(&url.target), "{url:?}");
        assert!(url.target.starts_with('/') && !url.target.contains('#'), "{url:?}");
        assert!(!url.authority.contains(['/', '?', '#', '@', '\\']), "{url:?}");
        // What names no server of its own stays where it is.
        let elsewhere = location.contains("//") || location.contains(':');
        assert!(elsewhere || url.address == "a.example:8443", "{url:?}");
        true
    });
}
