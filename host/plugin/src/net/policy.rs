//! Decides what one instance may reach, from its grants and from the addresses that its lookups were answered with.

use std::{
    collections::{HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use wasmtime_wasi::sockets::SocketAddrUse;

use super::{
    grant::{ListenGrant, NetGrant, Ports},
    range::guarded,
};
use crate::{quotas::Quotas, secrets::Masks};

/// Addresses that are remembered of lookups; the oldest go first.
const REMEMBERED: usize = 1024;

/// Listeners of an instance that connections from outside are led to; the oldest go first.
pub(super) const LISTENERS: usize = 8;

/// Denials that are told apart in the log; further ones are not logged.
const SAID: usize = 16;

/// The code of the warning about a denial.
const CODE: &str = "E0230";

/// What one instance may reach. Shared with its lookups and its sockets.
#[derive(Debug)]
pub(super) struct Policy {
    pipeline: String,
    plugin: String,
    net: Vec<NetGrant>,
    listen: Vec<ListenGrant>,
    /// What lookups were answered with: each address may be dialled at these ports.
    given: Mutex<VecDeque<(IpAddr, Ports)>>,
    /// Where it listens for connections from outside, and the one it is about to have.
    exposed: Mutex<Vec<SocketAddr>>,
    denials: Denials,
    masks: Masks,
}

/// What was logged of denials, of all instances of a plugin in a pipeline together: one that is opened again and again says no more.
/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denials(Arc<Mutex<HashSet<Denial>>>);

/// What was denied, and what to grant if it should not be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Denial {
    what: String,
    /// The part of a grant that allows it; none if nothing does.
    add: Option<String>,
}

impl Denial {
    pub(super) fn new(what: impl Into<String>, add: impl Into<String>) -> Self {
        Self { what: what.into(), add: Some(add.into()) }
    }

    /// UDP, which no grant opens.
    pub(super) fn udp() -> Self {
        Self { what: "using UDP".into(), add: None }
    }
}

impl Policy {
    pub(super) fn new(pipeline: &str, plugin: &str, net: &[NetGrant], listen: &[ListenGrant]) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            plugin: plugin.to_owned(),
            net: net.to_vec(),
            listen: listen.to_vec(),
            given: Mutex::default(),
            exposed: Mutex::default(),
            denials: Denials::default(),
            masks: Masks::default(),
        }
    }

    /// The same, which remembers with others what it has logged, and has no secrets in it.
    pub(super) fn saying(self, quotas: &Quotas) -> Self {
        Self { denials: quotas.denials().clone(), masks: quotas.masks().clone(), ..self }
    }

    /// Whether the guest may look up `name`.
    pub(super) fn may_look_up(&self, name: &str) -> Result<(), Denial> {
        if self.net.iter().any(|grant| grant.names(name)) {
            return Ok(());
        }
        Err(Denial::new(format!("looking up `{name}`"), format!("net: [\"{name}:PORT\"]")))
    }

    /// Those of `addresses`, which `name` resolved to, that the guest gets: exactly these it may dial from now on, at the ports
    /// granted with the name.
    pub(super) fn admit(&self, name: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Denial> {
        let ports: Vec<Ports> = self.net.iter().filter(|grant| grant.names(name)).map(|grant| grant.ports).collect();
        let mut denial = None;
        let mut admitted = Vec::new();
        for ip in addresses.into_iter().map(|ip| ip.to_canonical()) {
            match guarded(ip).filter(|_| !self.net.iter().any(|grant| grant.opens(ip))) {
                Some(kind) => {
                    let what = format!("reaching `{name}`, because it resolves to {kind}, {ip}");
                    denial = Some(Denial::new(what, format!("net: [\"{}\"]", port_of(ip))));
                }
                None => admitted.push(ip),
            }
        }
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        // A guarded address stays one that is dialled by number, at the ports granted with it.
        for ip in admitted.iter().filter(|ip| guarded(**ip).is_none()) {
            for &ports in &ports {
                given.retain(|known| *known != (*ip, ports));
                given.push_back((*ip, ports));
            }
        }
        while given.len() > REMEMBERED {
            given.pop_front();
        }
        match denial {
            Some(denial) if admitted.is_empty() => Err(denial),
            _ => Ok(admitted),
        }
    }

    /// Whether the guest may use `address` so.
    pub(super) fn may_use(&self, address: SocketAddr, how: SocketAddrUse) -> Result<(), Denial> {
        match how {
            // Before it connects, a socket is bound to an address that the system chooses; before it listens there, it is asked
            // about again.
            SocketAddrUse::TcpBind if address.ip().is_unspecified() && address.port() == 0 => Ok(()),
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen => self.may_listen(address),
            SocketAddrUse::TcpAccept => Ok(()),
            SocketAddrUse::TcpConnect => self.may_connect(address),
            SocketAddrUse::UdpBind | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => Err(Denial::udp()),
        }
    }

    fn may_connect(&self, address: SocketAddr) -> Result<(), Denial> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let by_name = given.iter().any(|(known, ports)| *known == ip && ports.contains(port));
        let by_number = || self.net.iter().any(|grant| grant.ports.contains(port) && grant.opens(ip));
        if by_name || by_number() {
            return Ok(());
        }
        let kind = guarded(ip).map(|kind| format!(", {kind}")).unwrap_or_default();
        let address = SocketAddr::new(ip, port);
        Err(Denial::new(format!("connecting to {address}{kind}"), format!("net: [\"{address}\"]")))
    }

    /// Allows the guest to listen at `address`, whatever its grants are.
    pub(super) fn expose(&self, address: SocketAddr) {
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.push(address);
        let spare = exposed.len().saturating_sub(LISTENERS);
        exposed.drain(..spare);
    }

    /// Whether the guest was allowed to listen at `address` so.
    pub(super) fn exposes(&self, address: SocketAddr) -> bool {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    /// No longer allows it.
    pub(super) fn conceal(&self, address: SocketAddr) {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| *known != address);
    }

    fn may_listen(&self, address: SocketAddr) -> Result<(), Denial> {
        if self.exposes(address) || self.listen.iter().any(|grant| grant.allows(address)) {
            return Ok(());
        }
        let add = match address.ip().is_loopback() {
            true => format!("listen: [{}]", address.port()),
            false => format!("listen: [\"{address}\"]"),
        };
        Err(Denial::new(format!("listening at {address}"), add))
    }

    /// Logs a denial once, with what to grant.
    pub(super) fn log(&self, denial: Denial) {
        let mut said = self.denials.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= SAID || said.contains(&denial) {
            return;
        }
        let (pipeline, plugin) = (&self.pipeline, &self.plugin);
        let what = self.masks.hide(&denial.what);
        let advice = match &denial.add {
            Some(add) => {
                let add = self.masks.hide(add);
                format!("if it should, add `grants: {{{plugin}: {{{add}}}}}`")
            }
            None => "no grant allows it".to_owned(),
        };
        tracing::warn!(pipeline, plugin, code = CODE, "kept plugin `{plugin}` from {what}; {advice}");
        said.insert(denial);
        if said.len() == SAID {
            tracing::warn!(pipeline, plugin, code = CODE, "further denials of this plugin are not logged");
        }
    }
}

/// An address with a port to fill in, as a grant writes it.
fn port_of(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]:PORT") } else { format!("{ip}:PORT") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(net: &[&str], listen: &[&str]) -> Policy {
        let net: Vec<NetGrant> = net.iter().map(|text| text.parse().unwrap()).collect();
        let listen: Vec<ListenGrant> = listen.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        Policy::new("trial", "guest", &net, &listen)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn connects(policy: &Policy, address: &str) -> bool {
        policy.may_use(address.parse().unwrap(), SocketAddrUse::TcpConnect).is_ok()
    }

    #[test]
    fn what_a_name_resolved_to_may_be_dialled_at_its_ports_and_nothing_else() {
        let policy = policy(&["broker:9092", "*.example.com:443"], &[]);
        assert!(!connects(&policy, "203.0.113.7:9092"), "before it was looked up");
        assert_eq!(policy.admit("broker", vec![ip("203.0.113.7"), ip("10.0.0.7")]).unwrap().len(), 2);
        assert!(connects(&policy, "203.0.113.7:9092"));
        assert!(connects(&policy, "10.0.0.7:9092"));
        assert!(connects(&policy, "[::ffff:10.0.0.7]:9092"));
        assert!(!connects(&policy, "203.0.113.7:443"));
        assert!(!connects(&policy, "203.0.113.8:9092"));
        assert!(policy.may_look_up("a.example.com").is_ok());
        assert!(policy.may_look_up("example.com").is_err());
        assert!(policy.may_look_up("broker.evil.org").is_err());
    }

    #[test]
    fn a_name_opens_no_guarded_address() {
        let names = policy(&["evil.example:80"], &[]);
        for address in ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0", "fe80::1", "224.0.0.1", "::ffff:127.0.0.1"] {
            let denial = names.admit("evil.example", vec![ip(address)]).unwrap_err();
            assert!(denial.add.unwrap().contains("PORT"), "{address}");
            assert!(!connects(&names, &SocketAddr::new(ip(address), 80).to_string()), "{address}");
        }
        // What is sound among them is given, and the rest is not.
        let both = names.admit("evil.example", vec![ip("127.0.0.1"), ip("203.0.113.7")]).unwrap();
        assert_eq!(both, [ip("203.0.113.7")]);
        assert!(!connects(&names, "127.0.0.1:80"));
        // With the number granted, too, the name is given; what may be dialled is what the number says.
        let granted = policy(&["localhost:80", "127.0.0.1:8080"], &[]);
        assert_eq!(granted.admit("localhost", vec![ip("127.0.0.1")]).unwrap(), [ip("127.0.0.1")]);
        assert!(connects(&granted, "127.0.0.1:8080"));
        assert!(!connects(&granted, "127.0.0.1:80"));
    }

    #[test]
    fn a_name_that_flips_never_leads_inside() {
        let policy = policy(&["flip.example:80"], &[]);
        let inside = ["169.254.169.254", "127.0.0.1", "::ffff:169.254.169.254", "0.0.0.0"];
        let reached = (0..1000)
            .filter(|turn| {
                let (outside, inside) = (ip("203.0.113.7"), inside[turn % inside.len()]);
                let first = policy.admit("flip.example", vec![outside]);
                let second = policy.admit("flip.example", vec![ip(inside)]);
                assert!(first.is_ok() && second.is_err());
                connects(&policy, &SocketAddr::new(ip(inside), 80).to_string())
            })
            .count();
        assert_eq!(reached, 0);
        assert!(connects(&policy, "203.0.113.7:80"));
    }

    #[test]
    fn lookups_are_remembered_within_bounds() {
        let policy = policy(&["big.example:80"], &[]);
        let address = |n: u32| IpAddr::from(0xcb00_7100_u32.wrapping_add(n).to_be_bytes());
        for n in 0..5000 {
            policy.admit("big.example", vec![address(n)]).unwrap();
        }
        assert_eq!(policy.given.lock().unwrap().len(), REMEMBERED);
        assert!(connects(&policy, &format!("{}:80", address(4999))));
        assert!(!connects(&policy, &format!("{}:80", address(0))));
    }

    #[test]
    fn a_guest_listens_only_where_it_may() {
        let policy = policy(&[], &["8000"]);
        let check = |how: SocketAddrUse, address: &str, expected: bool| {
            assert_eq!(policy.may_use(address.parse().unwrap(), how).is_ok(), expected, "{how:?} {address}");
        };
        check(SocketAddrUse::TcpBind, "0.0.0.0:0", true);
        check(SocketAddrUse::TcpListen, "0.0.0.0:40000", false);
        check(SocketAddrUse::TcpBind, "127.0.0.1:0", false);
        check(SocketAddrUse::TcpBind, "127.0.0.1:8000", true);
        check(SocketAddrUse::TcpListen, "127.0.0.1:8000", true);
        check(SocketAddrUse::TcpBind, "0.0.0.0:8000", false);
        check(SocketAddrUse::TcpConnect, "127.0.0.1:8000", false);
        check(SocketAddrUse::UdpBind, "127.0.0.1:8000", false);
        check(SocketAddrUse::UdpSend, "203.0.113.7:53", false);
    }

    #[test]
    fn a_denial_is_said_once_and_not_for_ever() {
        let policy = policy(&[], &[]);
        for n in 0..100 {
            policy.log(policy.may_look_up(&format!("host{}", n / 2)).unwrap_err());
        }
        assert_eq!(policy.denials.0.lock().unwrap().len(), SAID);
    }
}
