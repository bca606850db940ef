//! Servers that no connector should meet: each begins as one of its kind would, and goes on as none should.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Result;

/// How a server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It takes the connection, and says nothing.
    Silent,
    /// A byte a second, for ever.
    Slow,
    /// One answer without an end.
    Endless,
    /// Bytes of chance.
    Garbage,
    /// It closes in the middle of its first words.
    Cut,
    /// It closes at once.
    Closed,
    /// It announces more than there is in the world.
    Absurd,
    /// What it says is sound, is no answer, and never ends.
    Chatter,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Silent, Self::Slow, Self::Endless, Self::Garbage, Self::Cut, Self::Closed, Self::Absurd, Self::Chatter];

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A kind of server, and the plugin that reads from it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The plugin.
    pub plugin: &'static str,
    /// The stream of a spec, with `ADDRESS` in it.
    pub stream: &'static str,
    /// How its first answer begins.
    first: &'static [u8],
    /// What it says that is much too long.
    absurd: &'static [u8],
    /// What comes before that which it may say at any time, and that.
    chatter: (&'static [u8], &'static [u8]),
}

/// A server of each kind that a connector of ours reads from.
pub const KINDS: [Kind; 9] = [
    Kind {
        plugin: "kafka",
        stream: "{plugin: kafka, topic: t, settings: {bootstrap.servers: \"ADDRESS\", request.timeout.ms: 1000}}",
        first: b"\0\x10\0\0",
        absurd: b"\x7f\xff\xff\xff\0\0\0\x01",
        // The answer to the first request knows no other request.
        chatter: (b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0", b"\0\0\0\x04\0\0\0\x01"),
    },
    Kind {
        plugin: "redis-streams",
        stream: "{plugin: redis-streams, topic: t, settings: {address: \"ADDRESS\"}}",
        first: b"$1000000\r\n",
        absurd: b"*9223372036854775807\r\n",
        chatter: (b"", b"*1\r\n"),
    },
    Kind {
        plugin: "nats",
        stream: "{plugin: nats, topic: t, settings: {address: \"ADDRESS\"}}",
        first: b"INFO {",
        absurd: b"INFO {\"headers\":true}\r\nHMSG a 1 9999999999 99999999999999\r\n",
        chatter: (b"INFO {\"headers\":true}\r\n", b"PING\r\n+OK\r\n"),
    },
    Kind {
        plugin: "postgres",
        stream: "{plugin: postgres, topic: t, settings: {address: \"ADDRESS\", slot: s, database: d, user: u}}",
        first: b"N",
        absurd: b"NR\x7f\xff\xff\xff",
        chatter: (b"N", b"N\0\0\0\x05\0"),
    },
    Kind {
        plugin: "kinesis",
        stream: "{plugin: kinesis, topic: t, settings: {region: r, keyId: k, endpoint: \"http://ADDRESS\"}}",
        first: b"HTTP/1.1 200 OK\r\n\r\n{\"Shards\":[",
        absurd: b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n{",
        chatter: (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    },
    Kind {
        plugin: "mqtt",
        stream: "{plugin: mqtt, topic: t, consumerType: acked, settings: {address: \"ADDRESS\"}}",
        first: b"\x20\xff\x7f",
        absurd: b"\x20\xff\xff\xff\x7f\0",
        chatter: (b"\x20\x03\0\0\0", b"\xd0\0"),
    },
    Kind {
        plugin: "amqp",
        stream: "{plugin: amqp, topic: t, consumerType: acked, settings: {address: \"ADDRESS\"}}",
        first: b"\x01\0\0\0\0\x01\0",
        absurd: b"\x01\0\0\xff\xff\xff\xff\0\x0a",
        chatter: (b"", b"\x08\0\0\0\0\0\0\xce"),
    },
    Kind {
        plugin: "http-poll",
        stream: "{plugin: http-poll, topic: \"http://ADDRESS\", settings: {mode: cursor, items: /data, field: /next}}",
        first: b"HTTP/1.1 200 OK\r\nx: ",
        absurd: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n",
        chatter: (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    },
    Kind {
        plugin: "objects",
        stream: "{plugin: objects, topic: \"bucket/in/\", settings: {endpoint: \"http://ADDRESS\"}}",
        first: b"HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>",
        absurd: b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n<",
        chatter: (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    },
];

impl Kind {
    /// Does to a client what `manner` says, until it goes.
    pub fn serve(&self, manner: Manner, mut client: TcpStream) {
        // Whoever closes before all was read resets the connection, and what it said may not come.
        let mut asked = vec![0; 64 << 10];
        let spoken_to = self.plugin == "nats" || client.read(&mut asked).is_ok();
        let said = match manner {
            Manner::Closed => return,
            Manner::Silent => Ok(()),
            _ if !spoken_to => return,
            Manner::Cut => return drop(client.write_all(self.first)),
            Manner::Slow | Manner::Endless => client.write_all(self.first),
            Manner::Garbage => client.write_all(&noise()),
            Manner::Absurd => client.write_all(self.absurd),
            Manner::Chatter => client.write_all(self.chatter.0),
        };
        let many = self.chatter.1.repeat(4096);
        let mut going = said;
        while going.is_ok() {
            going = match manner {
                Manner::Slow => {
                    thread::park_timeout(Duration::from_secs(1));
                    client.write_all(b"x")
                }
                Manner::Endless => client.write_all(&[b'x'; 1 << 16]),
                Manner::Chatter => client.write_all(&many),
                _ => return drop(client.read_to_end(&mut Vec::new())),
            };
        }
    }
}

/// The same bytes of chance each time.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..1 << 20).map(|_| byte()).collect()
}

/// A port of loopback where everybody is let in, and served by `serve`. It ends with the process.
///
/// # Errors
/// If there is no port.
pub fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// The streams of specs that say who they are to a server, with `ADDRESS` in them, by the plugin.
pub const KNOWN: [(&str, &str); 10] = [
    (
        "kafka",
        "{plugin: kafka, topic: t, settings: {bootstrap.servers: \"ADDRESS\", sasl.mechanism: PLAIN, sasl.username: u}}",
    ),
    ("redis-streams", "{plugin: redis-streams, topic: t, settings: {address: \"ADDRESS\", username: u}}"),
    ("nats", "{plugin: nats, topic: t, settings: {address: \"ADDRESS\", username: u}}"),
    (
        "postgres",
        "{plugin: postgres, topic: t, settings: {address: \"ADDRESS\", slot: s, database: d, user: u, secret: password}}",
    ),
    ("kinesis", "{plugin: kinesis, topic: t, settings: {region: r, keyId: k, endpoint: \"http://ADDRESS\"}}"),
    ("mqtt", "{plugin: mqtt, topic: t, consumerType: acked, settings: {address: \"ADDRESS\", username: u}}"),
    ("amqp", "{plugin: amqp, topic: t, consumerType: acked, settings: {address: \"ADDRESS\", username: u}}"),
    (
        "http-poll",
        "{plugin: http-poll, topic: \"http://ADDRESS\", settings: {mode: etag, authorization: basic, username: u}}",
    ),
    ("http-poll", "{plugin: http-poll, topic: \"http://ADDRESS\", settings: {mode: etag, secretHeader: X-Key}}"),
    ("objects", "{plugin: objects, topic: \"bucket/in/\", settings: {endpoint: \"http://ADDRESS\", keyId: k}}"),
];

/// Refuses a client of this plugin with all that it has said of who it is, and with `secret`.
pub fn tell(plugin: &str, secret: &str, mut client: TcpStream) {
    let mut heard = vec![0; 64 << 10];
    let mut hear = |client: &mut TcpStream| {
        let count = client.read(&mut heard).unwrap_or(0);
        String::from_utf8_lossy(heard.get(..count).unwrap_or_default()).into_owned()
    };
    let short = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
    let framed =
        |kind: &[u8], body: &[u8]| [kind, &u32::try_from(body.len()).unwrap_or(0).to_be_bytes(), body].concat();
    let http = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // What was written apart may come apart.
    let mut until = |client: &mut TcpStream, end: &str| {
        let mut all = hear(client);
        while !all.contains(end) {
            let more = hear(client);
            if more.is_empty() {
                break;
            }
            all += &more;
        }
        all.replace(['\r', '\n'], " ")
    };
    let said: Vec<u8> = match plugin {
        "redis-streams" => format!("-WRONGPASS no {}\r\n", until(&mut client, secret)).into(),
        "nats" => {
            drop(client.write_all(b"INFO {\"headers\":true}\r\n"));
            format!("-ERR 'Authorization Violation of {}'\r\n", until(&mut client, "PING").replace('\'', "")).into()
        }
        "postgres" => {
            let _tls = until(&mut client, "");
            drop(client.write_all(b"N"));
            let _greeting = until(&mut client, "");
            let body = format!("SFATAL\0C28P01\0Mno to {secret}\0\0");
            [&b"E"[..], &u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes()[..], body.as_bytes()].concat()
        }
        "kafka" => {
            let apis: [(i16, i16); 6] = [(18, 0), (3, 12), (2, 2), (1, 13), (17, 1), (36, 0)];
            let all = apis.map(|(key, most)| [key.to_be_bytes(), [0; 2], most.to_be_bytes()].concat()).concat();
            let mut answer = |correlation: u8, body: &[u8]| {
                let _request = hear(&mut client);
                drop(client.write_all(&framed(b"", &[&[0, 0, 0, correlation][..], body].concat())));
            };
            answer(1, &[&[0, 0, 0, 0, 0, 6][..], &all].concat());
            answer(2, b"\0\0\0\0\0\x01\0\x05PLAIN");
            answer(3, &[&[0, 58, 0, short(secret)][..], secret.as_bytes(), &[0; 4]].concat());
            Vec::new()
        }
        "mqtt" => {
            let _hello = until(&mut client, secret);
            let length = short(secret);
            [&[0x20, length + 6, 0, 0x86, length + 3, 0x1f, 0, length][..], secret.as_bytes()].concat()
        }
        "amqp" => {
            let _greeting = until(&mut client, "AMQP");
            let begun = b"\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US";
            drop(client.write_all(&[&framed(&[1, 0, 0], begun)[..], &[0xce]].concat()));
            let _who = until(&mut client, secret);
            let text = [&[0, 10, 0, 50, 1, 0x93, short(secret)][..], secret.as_bytes(), &[0; 4]].concat();
            [&framed(&[1, 0, 0], &text)[..], &[0xce]].concat()
        }
        "kinesis" => {
            let _request = until(&mut client, "StreamName");
            let text = serde_json::json!({"__type": "AccessDeniedException", "message": format!("no to {secret}")});
            http("400 Bad Request", &text.to_string()).into()
        }
        "objects" => {
            let _request = until(&mut client, "\r\n\r\n");
            http("403 Forbidden", &format!("<Error><Code>{secret}</Code></Error>")).into()
        }
        _ => http(&format!("302 Found\r\nLocation: /login?{}", until(&mut client, "\r\n\r\n")), "").into(),
    };
    drop(client.write_all(&said));
    drop(client.read_to_end(&mut Vec::new()));
}
