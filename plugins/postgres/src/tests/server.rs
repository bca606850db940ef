//! A server that follows a script: what it reads does not matter to it, only that something comes.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::JoinHandle,
};

use crate::{Settings, frame};

/// One connection: for each answer, a message is read first.
pub(crate) type Script = Vec<Vec<u8>>;

/// A message of the server.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// What a server says that lets us in.
pub(crate) fn greeting() -> Vec<u8> {
    [message(b'R', &[0; 4]), message(b'S', b"server_version\x0015.14\0"), done()].concat()
}

pub(crate) fn done() -> Vec<u8> {
    message(b'Z', b"I")
}

/// Rows of texts, and the end of a statement.
pub(crate) fn rows(rows: &[&[Option<&str>]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        let mut body = u16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
        for value in *row {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(value.unwrap_or_default().as_bytes());
        }
        bytes.extend(message(b'D', &body));
    }
    [bytes, message(b'C', b"SELECT\0"), done()].concat()
}

pub(crate) fn error(state: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0C{state}\0M{text}\0\0").as_bytes())
}

/// Logical messages as a stream carries them.
pub(crate) fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
    let one = |data: &Vec<u8>| message(b'd', &[&b"w"[..], &[0; 24], data].concat());
    messages.iter().flat_map(one).collect()
}

/// Everything before `end` came.
pub(crate) fn alive(end: u64, answer: bool) -> Vec<u8> {
    message(b'd', &[&b"k"[..], &end.to_be_bytes(), &[0; 8], &[u8::from(answer)]].concat())
}

/// Reads something; there is no TLS.
fn heard(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let count = stream.read(buffer)?;
        if buffer[..count] != frame::tls() {
            return Ok(count);
        }
        stream.write_all(b"N")?;
    }
}

/// What becomes of a connection when its script is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It ends.
    Close,
    /// It stays until the peer goes.
    Wait,
}

/// Serves connections, one after the other, each until the peer has gone. Gives what was read.
pub(crate) fn serve(end: End, scripts: Vec<Script>) -> (Settings, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = std::thread::spawn(move || {
        let mut read = Vec::new();
        for script in scripts {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            for answer in script {
                match heard(&mut stream, &mut buffer) {
                    Ok(count) if count > 0 => read.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
            if end == End::Close {
                drop(stream.shutdown(std::net::Shutdown::Write));
            }
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                read.extend_from_slice(&buffer[..count]);
            }
        }
        read
    });
    let settings = spout_guest::testing::settings(&[
        ("address", &address),
        ("database", "app"),
        ("user", "spout"),
        ("slot", "spout"),
        ("maxMessage", "65536"),
    ]);
    (settings.unwrap(), served)
}
