//! Sockets and the client, natively: against parsed bytes, and against servers that misbehave.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use super::{
    Client, HttpError, Request, Response, TcpListener, TcpStream,
    url::{Url, join},
};

fn parse(bytes: &[u8]) -> Result<Response, HttpError> {
    Client::new().max_body(100).receive(bytes, "GET")
}

#[test]
fn bodies_end_as_their_heads_say() {
    let check = |answer: &str, status: u16, body: &str| {
        let response = parse(answer.as_bytes()).unwrap_or_else(|error| panic!("{answer:?}: {error}"));
        assert_eq!((response.status, response.body.as_slice()), (status, body.as_bytes()), "{answer:?}");
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", 200, "hello");
    check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", 200, "hello");
    check("HTTP/1.0 200 OK\n\nto the end", 200, "to the end");
    check("HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n", 204, "");
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201, "");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
    check(&format!("{chunked}5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nX: y\r\n\r\n"), 200, "hello, world");
    check("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", 301, "");
    let moved = parse(b"HTTP/1.1 301 Moved\r\nLocation:  http://127.0.0.1/ \r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(moved.header("location"), Some("http://127.0.0.1/"));
    assert!(matches!(moved.success(), Err(HttpError::Status(301))));
}

#[test]
fn what_is_not_http_is_refused() {
    let check = |answer: &str, part: &str| {
        let error = parse(answer.as_bytes()).expect_err(answer).to_string();
        assert!(error.contains(part), "{answer:?}: {error}");
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    check("", "ends within its head");
    check("SSH-2.0-OpenSSH\r\n\r\n", "begins with `SSH");
    check("HTTP/2 200\r\n\r\n", "begins with");
    check("HTTP/1.1 20\r\n\r\n", "begins with");
    check("HTTP/1.1 099\r\n\r\n", "begins with");
    check(&format!("{ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), "both");
    check(&format!("{ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), "not a number");
    check(&format!("{ok}Content-Length: +5\r\n\r\nhello"), "not a number");
    check(&format!("{ok}Content-Length: 5\r\n\r\nhell"), "ends within its body");
    check(&format!("{ok}Transfer-Encoding: gzip\r\n\r\n"), "unknown");
    check(&format!("{ok}Name : value\r\n\r\n"), "no name");
    check(&format!("{ok}A: b\r\n folded\r\n\r\n"), "no name");
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    check(&format!("{chunked}5\r\nhello!\r\n0\r\n\r\n"), "longer than it says");
    check(&format!("{chunked}-5\r\nhello\r\n"), "not a number");
    check(&format!("{chunked}fffffffffffffffff\r\n"), "not a number");
    check(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(20), "only says to wait");
}

#[test]
fn an_answer_takes_no_more_room_than_it_may() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for answer in [
        format!("{ok}Content-Length: 18446744073709551615\r\n\r\nx"),
        format!("{ok}Content-Length: 101\r\n\r\nx"),
        format!("{ok}\r\n{}", "x".repeat(101)),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"),
        format!(
            "{ok}Transfer-Encoding: chunked\r\n\r\n{}",
            "32\r\n01234567890123456789012345678901234567890123456789\r\n".repeat(3)
        ),
    ] {
        assert!(matches!(parse(answer.as_bytes()), Err(HttpError::TooLarge(100))), "{}", &answer[..60]);
    }
    let endless = ok.bytes().chain(std::iter::repeat_n(b'x', 1 << 20)).collect::<Vec<u8>>();
    assert!(parse(&endless).unwrap_err().to_string().contains("too large"));
    let headers = format!("{ok}{}\r\n", "A: b\r\n".repeat(300));
    assert!(parse(headers.as_bytes()).unwrap_err().to_string().contains("more than 256 headers"));
    let line = format!("{ok}Transfer-Encoding: chunked\r\n\r\n5;{}", "x".repeat(1 << 20));
    assert!(parse(line.as_bytes()).unwrap_err().to_string().contains("too large"));
}

#[test]
fn a_url_says_where_to_and_nothing_else() {
    let check = |url: &str, address: &str, target: &str| {
        let parsed = Url::parse(url).unwrap();
        assert_eq!((parsed.address.as_str(), parsed.target.as_str()), (address, target), "{url}");
    };
    check("http://a", "a:80", "/");
    check("HTTP://a:8080/x?y=z#part", "a:8080", "/x?y=z");
    check("http://a?y", "a:80", "/?y");
    check("http://[::1]/", "[::1]:80", "/");
    check("http://[::1]:81/", "[::1]:81", "/");
    for url in
        ["a", "ftp://a", "http://", "http://u:p@a/", "http://a:x/", "http://a/b c", "http://a/\r\nX: y", "http://a\\b/"]
    {
        assert!(matches!(Url::parse(url), Err(HttpError::Url(_))), "{url}");
    }
}

/// A whole request: its head and as much of a body as that says, which may come apart.
fn request(stream: &mut TcpStream) -> String {
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    let whole = |heard: &str| {
        let (head, body) = heard.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        Some(body.len() >= length.map_or(0, |length| length.parse().unwrap()))
    };
    while whole(&heard) != Some(true) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the client left after {heard:?}");
        heard.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    heard
}

/// A server that hears one request and then does as it likes; its address.
fn server(answer: impl FnOnce(TcpStream, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut stream = listener.accept_within(Duration::from_secs(10)).unwrap().expect("a client");
        let heard = request(&mut stream);
        answer(stream, heard);
    });
    address
}

#[test]
fn a_request_arrives_as_it_was_made() {
    let address = server(|mut stream, heard| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{heard}", heard.len()).unwrap();
    });
    let response = Client::new().post(&format!("http://{address}/in?a=b"), "text/plain", b"hello!").unwrap();
    let heard = String::from_utf8(response.body).unwrap();
    let expected = format!(
        "POST /in?a=b HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello!"
    );
    assert_eq!(heard, expected);
    for (method, headers) in [
        ("GET /\r\n", &[][..]),
        ("GET", &[("A", "b\r\nC: d")][..]),
        ("GET", &[("Host", "b")][..]),
        ("GET", &[("A b", "c")][..]),
    ] {
        let request = Request { method, url: "http://127.0.0.1:1/", headers, body: &[] };
        assert!(matches!(Client::new().send(&request), Err(HttpError::Url(_))), "{method} {headers:?}");
    }
}

#[test]
fn a_peer_that_sends_slowly_or_never_costs_no_more_than_the_time_it_has() {
    let drip = server(|mut stream, _| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"));
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let silent = server(|stream, _| {
        thread::sleep(Duration::from_secs(5));
        drop(stream);
    });
    for address in [drip, silent] {
        let begun = Instant::now();
        let error = Client::new().timeout(Duration::from_millis(200)).get(&format!("http://{address}/")).unwrap_err();
        assert!(matches!(&error, HttpError::Io(error) if error.kind() == io::ErrorKind::TimedOut), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_stream_waits_as_long_as_it_is_told_and_closes_one_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(listener.accept_within(Duration::ZERO).unwrap().is_none());
    let mut near = TcpStream::connect(&listener.local_addr().unwrap().to_string()).unwrap();
    let mut far = listener.accept_within(Duration::from_secs(5)).unwrap().expect("a connection");
    let mut byte = [0];
    near.set_read_timeout(Duration::ZERO);
    assert_eq!(near.read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    near.set_read_timeout(Duration::from_millis(10));
    assert_eq!(near.read(&mut byte).unwrap_err().kind(), io::ErrorKind::TimedOut);
    near.write_all(b"there").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).unwrap();
    assert_eq!(text, "there");
    far.write_all(b"back").unwrap();
    drop(far);
    near.set_read_timeout(Duration::from_secs(5));
    text.clear();
    near.read_to_string(&mut text).unwrap();
    assert_eq!(text, "back");
    assert_eq!(TcpStream::connect("nowhere").unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

/// A server that answers one request after the other with these; what it heard, once that many have come.
fn answers(all: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = thread::spawn(move || {
        let answer = |answer: String| {
            let mut stream = listener.accept_within(Duration::from_secs(10)).unwrap().expect("a client");
            let heard = request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            heard
        };
        all.into_iter().map(answer).collect()
    });
    (address, heard)
}

#[test]
fn redirects_are_followed_as_far_as_they_may_and_tell_nobody_else_who_asks() {
    let moved =
        |status: u16, to: &str| format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
    let (other, heard_there) = answers(vec![ok.clone()]);
    let (address, heard) = answers(vec![moved(307, "/b?c"), moved(302, "d"), moved(301, &format!("http://{other}/e"))]);
    let headers = [("Authorization", "Bearer x"), ("Content-Type", "text/plain"), ("X-Own", "y")];
    let url = format!("http://{address}/a");
    let request = Request { method: "POST", url: &url, headers: &headers, body: b"hello!" };
    assert_eq!(Client::new().redirects(3).send(&request).unwrap().body, b"ok");
    let (heard, there) = (heard.join().unwrap(), heard_there.join().unwrap().remove(0));
    assert!(heard[1].starts_with("POST /b?c ") && heard[1].ends_with("hello!") && heard[1].contains("Bearer x"));
    assert!(heard[2].starts_with("GET /d ") && !heard[2].contains("Content-") && heard[2].contains("Bearer x"));
    assert!(there.starts_with("GET /e ") && there.contains("X-Own: y") && !there.contains("Bearer"), "{there}");
    let (address, _) = answers(vec![moved(301, "/a"), moved(301, "/a")]);
    let error = Client::new().redirects(1).get(&format!("http://{address}/a")).unwrap_err();
    assert!(error.to_string().contains("more than 1 times"), "{error}");
    let (address, _) = answers(vec![moved(301, "/a")]);
    assert_eq!(Client::new().get(&format!("http://{address}/a")).unwrap().status, 301);
    // Outside the sandbox there is no TLS, and a URL that needs it is not asked without.
    let (address, _) = answers(vec![]);
    let error = Client::new().get(&format!("https://{address}/a")).unwrap_err();
    assert!(matches!(&error, HttpError::Io(error) if error.kind() != io::ErrorKind::InvalidInput), "{error:?}");
}

#[test]
fn a_secret_is_sent_to_its_own_server_only() {
    crate::testing::set_secret("token", "t0p");
    let secret = || crate::secret::Secret::named("token").unwrap();
    let ok = || "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
    let (other, heard_there) = answers(vec![ok()]);
    let (address, heard) = answers(vec![
        "HTTP/1.1 307 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 307 Moved\r\nLocation: http://{other}/c\r\nContent-Length: 0\r\n\r\n"),
        ok(),
        ok(),
    ]);
    let url = format!("http://{address}/a");
    let bearer = Client::new().redirects(2).secret_header("Authorization", "Bearer ", secret());
    assert_eq!(bearer.get(&url).unwrap().body, b"ok");
    assert_eq!(Client::new().basic("me", secret()).get(&url).unwrap().body, b"ok");
    let request = Request { method: "POST", url: &url, headers: &[("X-Own", "y")], body: b"hello!" };
    assert_eq!(Client::new().secret_header("X-Api-Key", "", secret()).send(&request).unwrap().body, b"ok");
    let (heard, there) = (heard.join().unwrap(), heard_there.join().unwrap().remove(0));
    for first in &heard[..2] {
        assert!(first.ends_with("\r\nAuthorization: Bearer t0p\r\n\r\n"), "{first}");
    }
    assert!(there.starts_with("GET /c ") && !there.contains("t0p") && there.ends_with("\r\n\r\n"), "{there}");
    assert!(heard[2].ends_with("\r\nAuthorization: Basic bWU6dDBw\r\n\r\n"), "{}", heard[2]);
    assert!(heard[3].contains("\r\nX-Own: y\r\n") && heard[3].contains("\r\nX-Api-Key: t0p\r\n\r\n"), "{}", heard[3]);
    for (name, before) in [("a b", ""), ("", ""), ("a", "x\r\ny")] {
        let error = Client::new().secret_header(name, before, secret()).get(&url).unwrap_err();
        assert!(matches!(error, HttpError::Url(_)), "{error}");
    }
}

#[test]
fn a_location_is_read_from_where_it_was_said() {
    let check = |from: &str, location: &str, expected: &str| {
        assert_eq!(join(from, location).unwrap(), expected, "{from} {location}");
    };
    check("http://a/b/c?d", "/x", "http://a/x");
    check("http://a/b/c?d", "x?y", "http://a/b/x?y");
    check("http://a/b/c?d", "?y", "http://a/b/c?y");
    check("http://a", "x", "http://a/x");
    check("http://a?d", "#f", "http://a?d");
    check("https://a/b", "//c/d", "https://c/d");
    check("https://a/b", "http://c/d", "http://c/d");
    check("http://a/b", "x/y:z", "http://a/x/y:z");
    assert_eq!(Url::parse("https://a/b").unwrap().address, "a:443");
}

#[test]
fn a_packed_body_is_unpacked_within_its_bounds() {
    use flate2::{Compression, write::GzEncoder};
    let packed = |bytes: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let answer = |body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let client = Client::new().max_body(100).gzip(true);
    let receive = |bytes: &[u8]| client.receive(answer(bytes).as_slice(), "GET");
    assert_eq!(receive(&packed(b"hello")).unwrap().body, b"hello");
    assert!(matches!(receive(&packed(&[0; 10_000])), Err(HttpError::TooLarge(100))));
    assert!(matches!(receive(b"nonsense"), Err(HttpError::Protocol(_))));
    assert!(matches!(receive(&packed(b"hello")[..20]), Err(HttpError::Protocol(_))));
    let plain = Client::new().receive(answer(&packed(b"hello")).as_slice(), "GET").unwrap();
    assert_eq!(plain.body, packed(b"hello"));
}

#[test]
fn a_redirect_leads_out_of_no_tls() {
    let network = crate::testing::Network::new();
    let peer = || crate::testing::Peer::new().hears("\r\n\r\n");
    let moved = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    network.peer("a:443", peer().says(moved("http://a/b")).secure());
    network.peer("a:80", peer().says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let error = Client::new().redirects(3).get("https://a/").unwrap_err();
    assert!(error.to_string().contains("from https to http"), "{error}");
    assert!(network.heard("a:80").is_empty());
}
