//! What goes wrong before and within a session has a name, and none of it takes long.

use spout_guest::{Criteria, Error, Limits, Position, SharedReader as _, SharedSource as _};

use super::server::{End, Script, alive, done, error, greeting, message, rows, serve};
use crate::{Postgres, Settings, place::Place};

fn limits() -> Limits {
    Limits { messages: 100, bytes: 1 << 20, timeout: std::time::Duration::from_millis(20) }
}

/// What a fetch from `start` fails with.
fn fails(script: Script, start: &Position) -> (String, bool) {
    let (settings, served) = serve(End::Close, vec![script]);
    let mut reader = Postgres::open("pub", settings).unwrap().into_reader().unwrap();
    let error = reader.fetch(&[(0, start.clone())], limits()).unwrap().remove(0).1.unwrap_err();
    drop(reader);
    served.join().unwrap();
    match error {
        Error::Retriable { code, .. } => (code, true),
        Error::Fatal { code, .. } | Error::InvalidConfig { code, .. } => (code, false),
        Error::OutOfRange { earliest, latest } => (format!("{}..{}", earliest.offset, latest.offset), false),
    }
}

fn check(script: Script, start: &Position, code: &str, retriable: bool) {
    assert_eq!(fails(script, start), (code.to_owned(), retriable));
}

/// A place in changes of the system 4711.
fn streaming(lsn: &str) -> Position {
    Position { offset: 9, token: Some(format!(r#"{{"system":"4711","lsn":"{lsn}"}}"#).into_bytes()) }
}

fn system() -> Vec<u8> {
    rows(&[&[Some("4711"), Some("1"), Some("0/100"), Some("app")]])
}

fn slot(confirmed: &str, status: &str) -> Vec<u8> {
    rows(&[&[Some("pgoutput"), Some("app"), Some("f"), Some(confirmed), Some(status)]])
}

#[test]
fn garbage_is_no_protocol() {
    let start = Position::at(0);
    for garbage in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"\0\0\0\0\0\0\0\0".to_vec(),
        // A length below its own, an absurd one, and a row that announces more than it has.
        b"R\0\0\0\x03".to_vec(),
        b"R\xff\xff\xff\xff".to_vec(),
        [greeting(), message(b'D', b"\0\x01\x7f\xff\xff\xff")].concat(),
        message(b'R', b""),
    ] {
        let script = vec![garbage, message(b'D', b"\xff\xff")];
        let (code, retriable) = fails(script, &start);
        assert!(retriable && matches!(code.as_str(), "postgres.protocol" | "postgres.closed"), "{code}");
    }
    check(vec![b"R\0\0".to_vec()], &start, "postgres.closed", true);
}

#[test]
fn what_proves_too_little_is_not_answered() {
    let start = Position::at(0);
    let plain = [&10_u32.to_be_bytes()[..], b"SCRAM-SHA-1\0\0"].concat();
    let scram = [&10_u32.to_be_bytes()[..], b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"].concat();
    for asked in [3_u32, 5, 7, 8] {
        check(vec![message(b'R', &asked.to_be_bytes())], &start, "postgres.auth", false);
    }
    check(vec![message(b'R', &plain)], &start, "postgres.auth", false);
    // There is no secret to prove.
    check(vec![message(b'R', &scram)], &start, "postgres.auth", false);
    check(vec![message(b'R', &11_u32.to_be_bytes())], &start, "postgres.protocol", true);
    check(vec![error("28000", "no pg_hba.conf entry")], &Position::at(0), "postgres.refused", false);
    check(vec![error("3D000", "database does not exist")], &Position::at(0), "postgres.database", false);
    check(vec![error("57P03", "the database system is starting up")], &Position::at(0), "postgres.unavailable", true);
    check(vec![error("53300", "too many clients")], &Position::at(0), "postgres.unavailable", true);
}

/// A server that says nothing, and one that sends a message that never ends.
#[test]
fn slow_servers_are_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endless = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent_at, endless_at) = (silent.local_addr().unwrap(), endless.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = endless.accept().unwrap();
        let mut bytes = b"NR\0\0\xff\xff".iter().copied().chain(std::iter::repeat(0));
        while std::io::Write::write_all(&mut stream, &[bytes.next().unwrap()]).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let ask = |address: std::net::SocketAddr, code: &'static str| {
        std::thread::spawn(move || {
            let (settings, _) = serve(End::Close, vec![]);
            let settings = Settings { address: address.to_string(), ..settings };
            let begun = std::time::Instant::now();
            let error =
                Postgres::open("pub", settings).unwrap().resolve(0, Criteria::Latest, limits().timeout).unwrap_err();
            assert!(
                matches!(&error, Error::Retriable { code: found, .. } if found == code),
                "{error} instead of {code}"
            );
            // The host ends a call after ten seconds.
            assert!(begun.elapsed() < std::time::Duration::from_secs(9), "{:?}", begun.elapsed());
        })
    };
    let asked = [ask(silent_at, "postgres.unreachable"), ask(endless_at, "postgres.slow")];
    asked.into_iter().for_each(|asked| asked.join().unwrap());
}

/// A server that lets us in without its own proof, or with a wrong one, does not know the password.
#[test]
fn a_server_proves_itself() {
    spout_guest::testing::set_secret("password", "sesame");
    let offered = message(b'R', &[&10_u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat());
    let (settings, served) = serve(
        End::Close,
        vec![
            vec![[offered.clone(), greeting()].concat()],
            vec![offered.clone(), message(b'R', &[&11_u32.to_be_bytes()[..], b"r=other,s=AAAA,i=4096"].concat())],
            vec![offered, message(b'R', &[&12_u32.to_be_bytes()[..], b"v=AAAA"].concat())],
        ],
    );
    let settings = Settings { secret: Some("password".into()), ..settings };
    for code in ["postgres.auth", "scram.protocol", "scram.server"] {
        let mut source = Postgres::open("pub", settings.clone()).unwrap();
        let error = source.resolve(0, Criteria::Latest, limits().timeout).unwrap_err();
        assert!(matches!(&error, Error::Fatal { code: found, .. } if found == code), "{error} instead of {code}");
        assert!(!error.to_string().contains("sesame"));
    }
    served.join().unwrap();
}

#[test]
fn a_slot_that_is_gone_or_not_ours_is_named() {
    let start = streaming("0/50");
    let gone = |slot: Vec<u8>| vec![greeting(), system(), slot];
    check(gone(rows(&[])), &start, "postgres.slot-lost", false);
    check(gone(slot("0/10", "lost")), &start, "postgres.slot-lost", false);
    // What was asked for is before what the slot has.
    check(gone(slot("0/60", "reserved")), &start, "96..96", false);
    check(
        gone(rows(&[&[Some("test_decoding"), Some("app"), Some("f"), Some("0/10"), Some("reserved")]])),
        &start,
        "postgres.slot",
        false,
    );
    let other = rows(&[&[Some("4712"), Some("1"), Some("0/100"), Some("app")]]);
    check(vec![greeting(), other], &start, "postgres.other-system", false);
    for (state, code, retriable) in [
        ("55000", "postgres.slot-lost", false),
        ("58P01", "postgres.slot-lost", false),
        ("42501", "postgres.permission", false),
    ] {
        let refused = [error(state, "no"), done()].concat();
        check(vec![greeting(), system(), slot("0/10", "reserved"), refused], &start, code, retriable);
    }
}

#[test]
fn a_slot_in_use_is_waited_for_a_moment() {
    let refused = [error("55006", "replication slot \"spout\" is active for PID 7"), done()].concat();
    let mut script = vec![greeting(), system(), slot("0/10", "reserved")];
    script.extend(std::iter::repeat_n(refused, 10_000));
    check(script, &streaming("0/50"), "postgres.slot-in-use", true);
}

#[test]
fn a_position_is_ours_or_refused() {
    let strange = Position { offset: 3, token: Some(b"{}x".to_vec()) };
    let (settings, _) = serve(End::Close, vec![]);
    let mut reader = Postgres::open("pub", settings).unwrap().into_reader().unwrap();
    let mut one = |position| reader.fetch(&[(0, position)], limits()).unwrap().remove(0).1;
    assert!(matches!(one(strange), Err(Error::Fatal { code, .. }) if code == "postgres.position"));
    assert!(matches!(one(Position::at(5)), Err(Error::OutOfRange { .. })));
    assert!(matches!(reader.fetch(&[(3, Position::at(0))], limits()).unwrap().remove(0).1, Err(Error::Fatal { .. })));
}

#[test]
fn latest_is_where_the_log_ends() {
    let (settings, served) = serve(End::Close, vec![vec![greeting(), system(), rows(&[])]]);
    let mut source = Postgres::open("pub", settings).unwrap();
    let latest = source.resolve(0, Criteria::Latest, limits().timeout).unwrap().unwrap();
    assert_eq!(latest, Place::slot(crate::Lsn(0x100)).at(0x100));
    assert_eq!(source.resolve(0, Criteria::AtTimeMs(1), limits().timeout), Ok(None));
    assert_eq!(source.resolve(0, Criteria::Earliest, limits().timeout), Ok(Some(Place::rows().at(0))));
    drop(source);
    served.join().unwrap();
}

#[test]
fn a_stream_that_breaks_can_be_had_again() {
    let begun =
        |rest: Vec<u8>| vec![greeting(), system(), slot("0/10", "reserved"), [message(b'W', &[0; 3]), rest].concat()];
    let start = streaming("0/50");
    for (rest, code) in [
        (error("57P01", "terminating connection due to administrator command"), "postgres.unavailable"),
        (message(b'c', b""), "postgres.ended"),
        (message(b'C', b"COPY 0\0"), "postgres.ended"),
        (message(b'd', b"x"), "postgres.protocol"),
        (message(b'd', b""), "postgres.protocol"),
        (message(b'T', b""), "postgres.protocol"),
        (alive(0x60, true)[..9].to_vec(), "postgres.closed"),
        (b"d\xff\xff\xff\xff".to_vec(), "postgres.protocol"),
    ] {
        let (found, retriable) = fails(begun(rest), &start);
        assert!(retriable && found == code, "{found} instead of {code}");
    }
    // More than the settings allow, and no more than a server can mean.
    check(begun(b"d\x00\xff\xff\xff".to_vec()), &start, "postgres.too-large", false);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let (settings, _) = serve(End::Close, vec![]);
    for (topic, change) in [("", None), ("pub", Some("Slot")), ("pub", Some("")), ("pub", Some("a-b"))] {
        let mut settings = settings.clone();
        if let Some(slot) = change {
            settings.slot = slot.into();
        }
        assert!(matches!(Postgres::open(topic, settings), Err(Error::InvalidConfig { .. })), "{topic} {change:?}");
    }
}

/// A server whose messages are sound, are no answer, and do not end.
#[test]
fn messages_without_an_end_keep_nobody_beyond_the_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::Write as _;
        let mut stream = listener.accept().unwrap().0;
        // There is no TLS.
        let mut going = stream.write_all(b"N");
        let notices = message(b'N', b"\0").repeat(10_000);
        while going.is_ok() {
            going = stream.write_all(&notices);
        }
    });
    let pairs = [("address", address.as_str()), ("database", "app"), ("user", "spout"), ("slot", "spout")];
    let settings: Settings = spout_guest::testing::settings(&pairs).unwrap();
    let call = spout_guest::now() + std::time::Duration::from_millis(200);
    let error = crate::session::Session::open(&settings, true, call).unwrap_err();
    assert!(matches!(&error, Error::Retriable { code, .. } if code == "postgres.slow"), "{error}");
}
