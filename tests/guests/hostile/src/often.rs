//! What does no harm once, very often: calls of the host, opening and closing, and a trap at a call of a certain number.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    sockets::{network::IpAddressFamily, tcp_create_socket::create_tcp_socket, udp_create_socket::create_udp_socket},
};

use crate::bindings::spout::plugin::{config, log, metrics};

/// Ten million calls, by three imports in turn.
const CALLS: u32 = 10_000_000;

/// How many calls this instance has had.
static CALLED: AtomicU32 = AtomicU32::new(0);

/// Ends this instance in its call number `N`, where the mode is `trap-N`.
pub(crate) fn count(mode: &str) {
    let Some(last) = mode.strip_prefix("trap-").and_then(|number| number.parse::<u32>().ok()) else { return };
    assert!(CALLED.fetch_add(1, Ordering::Relaxed) + 1 != last, "call number {last}");
}

/// Asks the host for very little, very often; each time by another name.
pub(crate) fn imports() {
    for number in 0..CALLS / 3 {
        let name = number.to_string();
        log::write(log::Level::Info, &name, &[]);
        metrics::add(&name, 1);
        drop(config::get(&name));
    }
    // After so many lines the next second's has to be waited for.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    log::write(log::Level::Warn, "done", &[]);
}

/// Opens and closes everything that can be, a thousand times.
pub(crate) fn cycle() {
    for _ in 0..1000 {
        drop(std::fs::File::open("/data/in.txt"));
        drop(std::fs::read_dir("/data"));
        drop(create_tcp_socket(IpAddressFamily::Ipv4));
        drop(create_udp_socket(IpAddressFamily::Ipv4));
        drop(subscribe_duration(1_000_000_000));
        drop(wasip2::cli::stdout::get_stdout());
    }
}
