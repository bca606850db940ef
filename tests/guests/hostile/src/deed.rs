//! Deeds that need no particular call: loops, traps, bombs, floods, and reaching for what was not granted.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Plan,
    bindings::spout::plugin::{
        config, control, log, state,
        types::{Blobs, Error, Position, Range},
    },
    fatal, fault, links, often, waits, wasi,
};

fn at(offset: u64) -> Position {
    Position { offset, token: None }
}

/// Does what the plan has for `call`; returns if there is nothing, or if it did no harm.
pub(crate) fn act(plan: &Plan, call: &str) -> Result<(), Error> {
    if plan.loud && !plan.mode(call).is_empty() {
        log::write(log::Level::Warn, "begun", &[]);
    }
    often::count(plan.mode(call));
    if let Some((kind, number)) = plan.mode(call).rsplit_once('-') {
        match kind {
            "import" => return wasi::import(number),
            "import-name" => return Err(wasi::name(number)),
            _ => {}
        }
    }
    match plan.mode(call) {
        "spin" => spin(),
        "hang" => {
            log::write(log::Level::Warn, "hanging now", &[]);
            spin()
        }
        "trap" => panic!("as ordered"),
        "exit" => std::process::exit(3),
        "memory" => memory(),
        "recurse" => drop(black_box(recurse())),
        "overflow" => drop(black_box(overflow(black_box(1)))),
        "handles" => handles(),
        "random" => drop(black_box(wasip2::random::random::get_random_bytes(1 << 40))),
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(100_000)),
        "pause" => drop(control::pause(u32::MAX)),
        "flood" => flood(),
        "escape" => {
            log::write(log::Level::Warn, "before\u{1b}[2J\u{202e}after", &[("a\nb".into(), "c\rd".into())]);
            eprintln!("error\u{7}\u{1b}]0;title");
        }
        "out" => log::write(log::Level::Warn, "the guest escapes now", &[]),
        "pipe" => return pipe(),
        "flip" => return flip(),
        "files" => files(),
        "imports" => often::imports(),
        "cycle" => often::cycle(),
        "kernel-log" => return kernel_log(),
        "read-many" => return waits::read_many(),
        "links" => return links::links(),
        "hoard" => hoard(),
        "fill" => return fill(),
        "reach" => return reach(),
        "granted" => return granted(),
        "retriable" => return Err(Error::Retriable(fault("test.retriable", "not\u{1b}[31m now"))),
        "keep" => put(b"key", b"value"),
        "keep-trap" => {
            put(b"key", b"other");
            assert_eq!(state::get(&one(b"key")).values.bytes, b"other");
            panic!("as ordered")
        }
        "keep-fatal" => {
            put(b"key", b"other");
            return Err(fatal("test.fatal", "never"));
        }
        "keep-much" => (0..u32::MAX).for_each(|n| put(&n.to_be_bytes(), &vec![1; 1 << 16])),
        "keep-uneven" => {
            state::put(&state::Entries { keys: one(b"key"), values: Blobs { bounds: vec![], bytes: vec![] } })
        }
        "keep-lies" => drop(state::get(&Blobs { bounds: vec![0, 9, 3], bytes: vec![0; 3] })),
        "get-often" => {
            put(b"key", &vec![1; 1 << 20]);
            let keys = Blobs { bounds: (0..1000).map(|n| n * 3).collect(), bytes: b"key".repeat(999) };
            drop(state::get(&keys));
        }
        "fatal" => return Err(fatal("test.fatal", "never")),
        "config" => return Err(Error::InvalidConfig(fault("test.config", "no such mode"))),
        "range" => return Err(Error::OutOfRange(Some(Range { earliest: at(5), latest: at(9) }))),
        "end" => return Err(Error::EndOfStream),
        _ => {}
    }
    Ok(())
}

fn one(entry: &[u8]) -> Blobs {
    Blobs { bounds: vec![0, entry.len() as u32], bytes: entry.to_vec() }
}

/// How often it was called, by the keyed state.
pub(crate) fn next_number() -> u64 {
    let before = state::get(&one(b"number")).values.bytes;
    let number = before.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) + 1;
    put(b"number", &number.to_be_bytes());
    number
}

fn put(key: &[u8], value: &[u8]) {
    state::put(&state::Entries { keys: one(key), values: one(value) });
}

fn spin() {
    log::write(log::Level::Info, "spinning", &[]);
    loop {
        black_box(());
    }
}

/// What a guest does that cannot bear what it was given.
pub(crate) fn poisoned(mode: &str) {
    match mode {
        "poison" => panic!("poison"),
        "poison-spin" => spin(),
        _ => {}
    }
}

fn memory() {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 16 << 20]));
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Uses up the call stack, which the host keeps.
fn recurse() -> u64 {
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        u64::MAX => 0,
        calls => recurse().wrapping_mul(3) ^ calls,
    }
}

/// Uses up the part of its own memory that Rust keeps large variables in.
#[expect(unconditional_recursion, reason = "that is the deed")]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    overflow(depth + 1) + frame[7]
}

fn handles() {
    let mut all = Vec::new();
    loop {
        all.push(wasip2::clocks::monotonic_clock::subscribe_duration(1));
    }
}

/// Opens what somebody else would have to answer at: for ever, if it is not refused.
fn pipe() -> Result<(), Error> {
    use std::fs::File;
    for path in ["/data/pipe", "/data/socket", "/data/to-pipe"] {
        let opened = [File::open(path), File::options().write(true).open(path), File::create(path)];
        if opened.iter().any(Result::is_ok) {
            return Err(fatal("pipe.open", path));
        }
    }
    if std::fs::read_to_string("/data/in.txt").map_or(true, |text| text != "granted") {
        return Err(fatal("pipe.closed", "a file beside cannot be read"));
    }
    Err(fatal("pipe.refused", "none was opened"))
}

/// Opens a name over and over that means a file and a pipe in turn.
fn flip() -> Result<(), Error> {
    let (mut opened, mut refused) = (0, 0);
    while opened < 200 || refused < 200 {
        match std::fs::File::open("/data/flip") {
            Ok(_) => opened += 1,
            Err(_) => refused += 1,
        }
    }
    Err(fatal("flip.done", "it was both"))
}

/// Opens a file for ever, and lets none go.
fn files() {
    while let Ok(file) = std::fs::File::open("/data/in.txt") {
        std::mem::forget(black_box(file));
    }
}

/// Reads what the kernel says, from a file that looks like any other, and whose end waits for more.
fn kernel_log() -> Result<(), Error> {
    use std::io::Read as _;
    let mut file = std::fs::File::open("/data/kmsg").map_err(|error| fatal("kernel.closed", &error.to_string()))?;
    let mut piece = vec![0; 1 << 16];
    log::write(log::Level::Warn, "reading now", &[]);
    while file.read(&mut piece).is_ok_and(|read| read > 0) {}
    Err(fatal("kernel.ended", "it does not wait"))
}

/// Keeps 40 MiB.
fn hoard() {
    std::mem::forget(black_box(vec![1_u8; 40 << 20]));
}

/// Writes 64 MiB to the disk, by all ways in turn, or as much as it may.
fn fill() -> Result<(), Error> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let piece = vec![b'x'; 1 << 20];
    let mut written = 0;
    let mut write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create("/data/out.bin")?;
        for n in 0..64 {
            match n % 3 {
                0 => file.write_all(&piece)?,
                1 => std::fs::File::options().append(true).open("/data/out.bin")?.write_all(&piece)?,
                _ => file.set_len(written + piece.len() as u64)?,
            }
            written += piece.len() as u64;
            file.seek(SeekFrom::End(0))?;
        }
        Ok(())
    };
    let why = write().map_or_else(|error| format!("{:?}", error.kind()), |()| "nothing".into());
    Err(fatal("fill.stopped", &format!("after {written} bytes by {why}")))
}

fn flood() {
    let line = "x".repeat(1000);
    for _ in 0..20_000 {
        log::write(log::Level::Info, &line, &[]);
        println!("{line}");
    }
    // No line end: the host must not gather it for ever.
    for _ in 0..1_000 {
        print!("{line}");
    }
}

/// Tries everything that nobody granted. An error that begins with `open` says what was open.
fn reach() -> Result<(), Error> {
    let open = |what: &str| Err(fatal("reach.open", what));
    for path in ["/", ".", "..", "/etc/passwd", "/proc/self/environ", "/tmp"] {
        if std::fs::read_dir(path).is_ok() || std::fs::read(path).is_ok() || std::fs::write("/tmp/x", "x").is_ok() {
            return open(path);
        }
    }
    if std::env::vars().next().is_some() || std::env::args().len() > 0 || std::env::var("HOME").is_ok() {
        return open("environment");
    }
    if config::get("HOME").is_some() {
        return open("config");
    }
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        return open("standard input");
    }
    network()?;
    Err(fatal("reach.denied", "nothing was open"))
}

fn network() -> Result<(), Error> {
    use wasip2::sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress},
        tcp_create_socket::create_tcp_socket,
        udp_create_socket::create_udp_socket,
    };

    let network = instance_network();
    if let Ok(stream) = resolve_addresses(&network, "localhost") {
        stream.subscribe().block();
        if let Ok(Some(_)) = stream.resolve_next_address() {
            return Err(fatal("reach.open", "names"));
        }
    }
    let address = |port| IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) });
    if let Ok(socket) = create_tcp_socket(IpAddressFamily::Ipv4) {
        if socket.start_bind(&network, address(0)).is_ok() && socket.finish_bind().is_ok() {
            return Err(fatal("reach.open", "tcp bind"));
        }
        if socket.start_connect(&network, address(22)).is_ok() {
            socket.subscribe().block();
            if socket.finish_connect().is_ok() {
                return Err(fatal("reach.open", "tcp connect"));
            }
        }
    }
    if let Ok(socket) = create_udp_socket(IpAddressFamily::Ipv4)
        && socket.start_bind(&network, address(0)).is_ok()
        && socket.finish_bind().is_ok()
    {
        return Err(fatal("reach.open", "udp bind"));
    }
    Ok(())
}

/// Reads what is granted as `/data`, and tries to get out of it and to write there.
fn granted() -> Result<(), Error> {
    let open = |what: &str| Err(fatal("reach.open", what));
    if std::fs::read_to_string("/data/in.txt").map_or(true, |text| text != "granted") {
        return Err(fatal("reach.closed", "the granted file cannot be read"));
    }
    for path in ["/data/../secret.txt", "/data/link", "/data/dir-link/secret.txt", "/data/./../../etc/passwd"] {
        if std::fs::read(path).is_ok() {
            return open(path);
        }
    }
    let changed = std::fs::write("/data/new.txt", "x").is_ok()
        || std::fs::remove_file("/data/in.txt").is_ok()
        || std::fs::rename("/data/in.txt", "/data/out.txt").is_ok()
        || std::fs::create_dir("/data/new").is_ok()
        || std::fs::File::options().append(true).open("/data/in.txt").is_ok();
    if changed {
        return open("a read-only directory was written");
    }
    Err(fatal("reach.denied", "only what was granted was open"))
}
