//! Every import of WASI, one by one: where a handle is needed that nobody gives without a grant, one that the guest has made up.

use std::mem::ManuallyDrop;

use wasip2::{
    cli, clocks,
    clocks::wall_clock::Datetime,
    filesystem::{
        preopens,
        types::{
            self as files, Advice, Descriptor, DescriptorFlags, DirectoryEntryStream, NewTimestamp, OpenFlags,
            PathFlags,
        },
    },
    io::{
        error::Error as IoError,
        poll::{Pollable, poll},
        streams::{InputStream, OutputStream},
    },
    random,
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::{ResolveAddressStream, resolve_addresses},
        network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress},
        tcp::{ShutdownType, TcpSocket},
        tcp_create_socket::create_tcp_socket,
        udp::{IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket},
        udp_create_socket::create_udp_socket,
    },
};

use crate::{bindings::spout::plugin::types::Error, fatal};

/// Whether a call gave away something that was not granted.
type Deed = fn() -> bool;

/// A handle that nobody gave.
macro_rules! forged {
    ($of:ty) => {
        // Nothing of this guest is behind it, so there is nothing to be harmed but what the host has.
        ManuallyDrop::new(unsafe { <$of>::from_handle(77) })
    };
}

fn file() -> ManuallyDrop<Descriptor> {
    forged!(Descriptor)
}

/// One that was given, or one made up.
fn tcp() -> ManuallyDrop<TcpSocket> {
    create_tcp_socket(IpAddressFamily::Ipv4).map_or_else(|_| forged!(TcpSocket), ManuallyDrop::new)
}

fn udp() -> ManuallyDrop<UdpSocket> {
    create_udp_socket(IpAddressFamily::Ipv4).map_or_else(|_| forged!(UdpSocket), ManuallyDrop::new)
}

fn stdin() -> InputStream {
    cli::stdin::get_stdin()
}

fn stdout() -> OutputStream {
    cli::stdout::get_stdout()
}

fn soon() -> Pollable {
    clocks::monotonic_clock::subscribe_duration(1)
}

/// An address of this machine.
fn address(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) })
}

fn since() -> NewTimestamp {
    NewTimestamp::Timestamp(Datetime { seconds: 1, nanoseconds: 0 })
}

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

/// What gives nothing away.
fn done<T>(_: T) -> bool {
    false
}

/// Whether what was read of standard input is anything.
fn read<E>(read: Result<Vec<u8>, E>) -> bool {
    read.is_ok_and(|bytes| !bytes.is_empty())
}

/// Names as WASI has them, and what is done with each.
const DEEDS: &[(&str, Deed)] = &[
    ("cli/environment.get-environment", || !cli::environment::get_environment().is_empty()),
    ("cli/environment.get-arguments", || !cli::environment::get_arguments().is_empty()),
    ("cli/environment.initial-cwd", || cli::environment::initial_cwd().is_some()),
    ("cli/exit.exit", || {
        cli::exit::exit(Ok(()));
        false
    }),
    ("cli/stdin.get-stdin", || done(stdin())),
    ("cli/stdout.get-stdout", || done(stdout())),
    ("cli/stderr.get-stderr", || done(cli::stderr::get_stderr())),
    ("cli/terminal-stdin.get-terminal-stdin", || cli::terminal_stdin::get_terminal_stdin().is_some()),
    ("cli/terminal-stdout.get-terminal-stdout", || cli::terminal_stdout::get_terminal_stdout().is_some()),
    ("cli/terminal-stderr.get-terminal-stderr", || cli::terminal_stderr::get_terminal_stderr().is_some()),
    ("clocks/monotonic-clock.now", || clocks::monotonic_clock::now() == u64::MAX),
    ("clocks/monotonic-clock.resolution", || clocks::monotonic_clock::resolution() == u64::MAX),
    ("clocks/monotonic-clock.subscribe-instant", || done(clocks::monotonic_clock::subscribe_instant(u64::MAX))),
    ("clocks/monotonic-clock.subscribe-duration", || done(clocks::monotonic_clock::subscribe_duration(u64::MAX))),
    ("clocks/wall-clock.now", || clocks::wall_clock::now().seconds == u64::MAX),
    ("clocks/wall-clock.resolution", || clocks::wall_clock::resolution().seconds == u64::MAX),
    ("filesystem/preopens.get-directories", || !preopens::get_directories().is_empty()),
    ("filesystem/types.filesystem-error-code", || files::filesystem_error_code(&forged!(IoError)).is_some()),
    ("filesystem/types.read-directory-entry", || forged!(DirectoryEntryStream).read_directory_entry().is_ok()),
    ("filesystem/types.read-via-stream", || file().read_via_stream(0).is_ok()),
    ("filesystem/types.write-via-stream", || file().write_via_stream(0).is_ok()),
    ("filesystem/types.append-via-stream", || file().append_via_stream().is_ok()),
    ("filesystem/types.advise", || file().advise(0, u64::MAX, Advice::WillNeed).is_ok()),
    ("filesystem/types.sync-data", || file().sync_data().is_ok()),
    ("filesystem/types.get-flags", || file().get_flags().is_ok()),
    ("filesystem/types.get-type", || file().get_type().is_ok()),
    ("filesystem/types.set-size", || file().set_size(u64::MAX).is_ok()),
    ("filesystem/types.set-times", || file().set_times(since(), since()).is_ok()),
    ("filesystem/types.read", || file().read(u64::MAX, u64::MAX).is_ok()),
    ("filesystem/types.write", || file().write(b"x", u64::MAX).is_ok()),
    ("filesystem/types.read-directory", || file().read_directory().is_ok()),
    ("filesystem/types.sync", || file().sync().is_ok()),
    ("filesystem/types.create-directory-at", || file().create_directory_at("x").is_ok()),
    ("filesystem/types.stat", || file().stat().is_ok()),
    ("filesystem/types.stat-at", || file().stat_at(FOLLOW, "/etc/passwd").is_ok()),
    ("filesystem/types.set-times-at", || file().set_times_at(FOLLOW, "x", since(), since()).is_ok()),
    ("filesystem/types.link-at", || file().link_at(FOLLOW, "/etc/passwd", &file(), "x").is_ok()),
    ("filesystem/types.open-at", || {
        file().open_at(FOLLOW, "/etc/passwd", OpenFlags::empty(), DescriptorFlags::READ).is_ok()
    }),
    ("filesystem/types.readlink-at", || file().readlink_at("/proc/self/exe").is_ok()),
    ("filesystem/types.remove-directory-at", || file().remove_directory_at("/tmp").is_ok()),
    ("filesystem/types.rename-at", || file().rename_at("/tmp", &file(), "x").is_ok()),
    ("filesystem/types.symlink-at", || file().symlink_at("/", "x").is_ok()),
    ("filesystem/types.unlink-file-at", || file().unlink_file_at("/etc/passwd").is_ok()),
    ("filesystem/types.is-same-object", || file().is_same_object(&file())),
    ("filesystem/types.metadata-hash", || file().metadata_hash().is_ok()),
    ("filesystem/types.metadata-hash-at", || file().metadata_hash_at(FOLLOW, "/").is_ok()),
    ("io/error.to-debug-string", || !forged!(IoError).to_debug_string().is_empty()),
    ("io/poll.ready", || {
        soon().ready();
        false
    }),
    ("io/poll.block", || {
        soon().block();
        false
    }),
    ("io/poll.poll", || poll(&[&soon(), &soon()]).len() > 2),
    ("io/streams.read", || read(stdin().read(u64::MAX))),
    ("io/streams.blocking-read", || read(stdin().blocking_read(u64::MAX))),
    ("io/streams.skip", || stdin().skip(u64::MAX).is_ok_and(|skipped| skipped > 0)),
    ("io/streams.blocking-skip", || stdin().blocking_skip(u64::MAX).is_ok_and(|skipped| skipped > 0)),
    ("io/streams.subscribe", || done((stdin().subscribe(), stdout().subscribe()))),
    ("io/streams.check-write", || stdout().check_write().is_ok_and(|bytes| bytes > 1 << 30)),
    ("io/streams.write", || {
        // More than there is permission for.
        stdout().write(&vec![b'x'; 4 << 20]).is_ok() && stdout().check_write().is_ok_and(|bytes| bytes > 1 << 30)
    }),
    ("io/streams.blocking-write-and-flush", || done(stdout().blocking_write_and_flush(b"x\n"))),
    ("io/streams.flush", || done(stdout().flush())),
    ("io/streams.blocking-flush", || done(stdout().blocking_flush())),
    ("io/streams.write-zeroes", || stdout().write_zeroes(u64::MAX).is_ok()),
    ("io/streams.blocking-write-zeroes-and-flush", || stdout().blocking_write_zeroes_and_flush(u64::MAX).is_ok()),
    ("io/streams.splice", || stdout().splice(&stdin(), u64::MAX).is_ok_and(|bytes| bytes > 0)),
    ("io/streams.blocking-splice", || stdout().blocking_splice(&stdin(), u64::MAX).is_ok_and(|bytes| bytes > 0)),
    ("random/random.get-random-bytes", || random::random::get_random_bytes(u64::MAX).is_empty()),
    ("random/random.get-random-u64", || {
        random::random::get_random_u64();
        false
    }),
    ("random/insecure.get-insecure-random-bytes", || random::insecure::get_insecure_random_bytes(1 << 30).is_empty()),
    ("random/insecure.get-insecure-random-u64", || {
        random::insecure::get_insecure_random_u64();
        false
    }),
    ("random/insecure-seed.insecure-seed", || {
        random::insecure_seed::insecure_seed();
        false
    }),
    ("sockets/instance-network.instance-network", || done(instance_network())),
    ("sockets/ip-name-lookup.resolve-addresses", || {
        resolve_addresses(&instance_network(), "localhost").is_ok_and(|names| {
            names.subscribe().block();
            matches!(names.resolve_next_address(), Ok(Some(_)))
        })
    }),
    ("sockets/ip-name-lookup.resolve-next-address", || forged!(ResolveAddressStream).resolve_next_address().is_ok()),
    ("sockets/ip-name-lookup.subscribe", || {
        drop(forged!(ResolveAddressStream).subscribe());
        true
    }),
    ("sockets/tcp-create-socket.create-tcp-socket", || done(create_tcp_socket(IpAddressFamily::Ipv6))),
    ("sockets/tcp.start-bind", || {
        let socket = tcp();
        socket.start_bind(&instance_network(), address(0)).is_ok() && socket.finish_bind().is_ok()
    }),
    ("sockets/tcp.finish-bind", || tcp().finish_bind().is_ok()),
    ("sockets/tcp.start-connect", || {
        let socket = tcp();
        socket.start_connect(&instance_network(), address(22)).is_ok_and(|()| {
            socket.subscribe().block();
            socket.finish_connect().is_ok()
        })
    }),
    ("sockets/tcp.finish-connect", || tcp().finish_connect().is_ok()),
    ("sockets/tcp.start-listen", || tcp().start_listen().is_ok()),
    ("sockets/tcp.finish-listen", || tcp().finish_listen().is_ok()),
    ("sockets/tcp.accept", || tcp().accept().is_ok()),
    ("sockets/tcp.local-address", || tcp().local_address().is_ok()),
    ("sockets/tcp.remote-address", || tcp().remote_address().is_ok()),
    ("sockets/tcp.is-listening", || tcp().is_listening()),
    ("sockets/tcp.address-family", || tcp().address_family() != IpAddressFamily::Ipv4),
    ("sockets/tcp.set-listen-backlog-size", || done(tcp().set_listen_backlog_size(u64::MAX))),
    ("sockets/tcp.keep-alive-enabled", || tcp().keep_alive_enabled() == Ok(true)),
    ("sockets/tcp.set-keep-alive-enabled", || done(tcp().set_keep_alive_enabled(true))),
    ("sockets/tcp.keep-alive-idle-time", || tcp().keep_alive_idle_time() == Ok(0)),
    ("sockets/tcp.set-keep-alive-idle-time", || tcp().set_keep_alive_idle_time(0).is_ok()),
    ("sockets/tcp.keep-alive-interval", || tcp().keep_alive_interval() == Ok(0)),
    ("sockets/tcp.set-keep-alive-interval", || tcp().set_keep_alive_interval(0).is_ok()),
    ("sockets/tcp.keep-alive-count", || tcp().keep_alive_count() == Ok(0)),
    ("sockets/tcp.set-keep-alive-count", || tcp().set_keep_alive_count(0).is_ok()),
    ("sockets/tcp.hop-limit", || tcp().hop_limit() == Ok(0)),
    ("sockets/tcp.set-hop-limit", || tcp().set_hop_limit(0).is_ok()),
    ("sockets/tcp.receive-buffer-size", || tcp().receive_buffer_size().is_ok_and(|size| size > 1 << 30)),
    ("sockets/tcp.set-receive-buffer-size", || {
        let socket = tcp();
        socket.set_receive_buffer_size(u64::MAX).is_ok()
            && socket.receive_buffer_size().is_ok_and(|size| size > 1 << 30)
    }),
    ("sockets/tcp.send-buffer-size", || tcp().send_buffer_size().is_ok_and(|size| size > 1 << 30)),
    ("sockets/tcp.set-send-buffer-size", || {
        let socket = tcp();
        socket.set_send_buffer_size(u64::MAX).is_ok() && socket.send_buffer_size().is_ok_and(|size| size > 1 << 30)
    }),
    ("sockets/tcp.subscribe", || done(tcp().subscribe())),
    ("sockets/tcp.shutdown", || tcp().shutdown(ShutdownType::Both).is_ok()),
    ("sockets/udp-create-socket.create-udp-socket", || done(create_udp_socket(IpAddressFamily::Ipv6))),
    ("sockets/udp.start-bind", || {
        let socket = udp();
        socket.start_bind(&instance_network(), address(0)).is_ok() && socket.finish_bind().is_ok()
    }),
    ("sockets/udp.finish-bind", || udp().finish_bind().is_ok()),
    ("sockets/udp.stream", || udp().stream(Some(address(53))).is_ok()),
    ("sockets/udp.local-address", || udp().local_address().is_ok()),
    ("sockets/udp.remote-address", || udp().remote_address().is_ok()),
    ("sockets/udp.address-family", || udp().address_family() != IpAddressFamily::Ipv4),
    ("sockets/udp.unicast-hop-limit", || udp().unicast_hop_limit() == Ok(0)),
    ("sockets/udp.set-unicast-hop-limit", || udp().set_unicast_hop_limit(0).is_ok()),
    ("sockets/udp.receive-buffer-size", || udp().receive_buffer_size().is_ok_and(|size| size > 1 << 30)),
    ("sockets/udp.set-receive-buffer-size", || done(udp().set_receive_buffer_size(u64::MAX))),
    ("sockets/udp.send-buffer-size", || udp().send_buffer_size().is_ok_and(|size| size > 1 << 30)),
    ("sockets/udp.set-send-buffer-size", || done(udp().set_send_buffer_size(u64::MAX))),
    ("sockets/udp.subscribe", || done(udp().subscribe())),
    ("sockets/udp.subscribe", || {
        drop(forged!(IncomingDatagramStream).subscribe());
        true
    }),
    ("sockets/udp.subscribe", || {
        drop(forged!(OutgoingDatagramStream).subscribe());
        true
    }),
    ("sockets/udp.receive", || forged!(IncomingDatagramStream).receive(u64::MAX).is_ok()),
    ("sockets/udp.check-send", || forged!(OutgoingDatagramStream).check_send().is_ok()),
    ("sockets/udp.send", || {
        let datagram = OutgoingDatagram { data: vec![b'x'; 100], remote_address: Some(address(53)) };
        forged!(OutgoingDatagramStream).send(&[datagram]).is_ok()
    }),
];

/// Makes the call of this number, and says what came of it: `import.none` if there are not so many.
pub(crate) fn import(number: &str) -> Result<(), Error> {
    let deed = number.parse::<usize>().ok().and_then(|number| DEEDS.get(number));
    let Some((name, deed)) = deed else { return Err(fatal("import.none", &DEEDS.len().to_string())) };
    Err(fatal(if deed() { "import.open" } else { "import.harmless" }, name))
}

/// What the call of this number is named, for those who do not hear of it any more.
pub(crate) fn name(number: &str) -> Error {
    let named = number.parse::<usize>().ok().and_then(|number| DEEDS.get(number));
    fatal("import.name", named.map_or("none", |(name, _)| name))
}
