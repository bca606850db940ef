//! Who gets in: how many connections a listener has at once, how many of them from one address, and how many the process
//! can have.
//!
//! A connection takes descriptors, of which the process has a limited number. All listeners together get half of them, and a
//! listener may take three times as many as are then left for others: so a crowd at one port leaves room at every other, and
//! files can be opened whatever happens at the ports.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::seldom::Seldom;

/// How many times what is left for others a listener may have.
const SHARE: usize = 3;
/// Connections that one address may have in any case, where the spec does not say.
const FEW: usize = 32;
/// Pauses after trouble of the system, such as no descriptors: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How many connections a listener takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// From everywhere.
    pub most: usize,
    /// From one address. Without it half of all, or 32 if that is more, and from this machine as many as there are.
    pub per_address: Option<usize>,
}

/// Why somebody does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The listener has as many as it takes.
    #[error("all {most} connections are taken")]
    Full {
        /// How many those are.
        most: usize,
    },
    /// One address has as many as it may.
    #[error("this address has {most} connections, which is all that one may have")]
    Address {
        /// How many those are.
        most: usize,
    },
    /// The process cannot have more.
    #[error("the process has no room for more connections; a higher limit of open files (`ulimit -n`) gives it some")]
    Process,
}

/// What lets connections in, one for each listener.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What listens, for the log, and what would let in more.
    listener: String,
    raise: &'static str,
    crowd: Crowd,
    /// Descriptors of a connection.
    cost: usize,
    budget: Arc<Budget>,
    inside: Mutex<Inside>,
    refusals: Seldom,
    trouble: Seldom,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Somebody who is in, until this is dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Inner>,
    address: Option<IpAddr>,
}

impl Gate {
    /// The gate of `listener`, whose connections take `cost` descriptors each; `raise` are the settings that say how many.
    #[must_use]
    pub fn new(listener: impl Into<String>, raise: &'static str, crowd: Crowd, cost: usize) -> Self {
        Self::within(listener, raise, crowd, cost, Budget::of_process())
    }

    fn within(
        listener: impl Into<String>,
        raise: &'static str,
        crowd: Crowd,
        cost: usize,
        budget: Arc<Budget>,
    ) -> Self {
        let (inside, refusals, trouble) = (Mutex::default(), Seldom::default(), Seldom::default());
        Self(Arc::new(Inner { listener: listener.into(), raise, crowd, cost, budget, inside, refusals, trouble }))
    }

    /// How many it lets in.
    #[must_use]
    pub fn crowd(&self) -> Crowd {
        self.0.crowd
    }

    /// Lets in somebody who comes from `peer`, where that is known; the log says once in a while who is refused, and why.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, peer: Option<IpAddr>) -> Result<Permit, Refused> {
        let admitted = self.0.try_admit(peer);
        match admitted {
            Ok(address) => Ok(Permit { gate: Arc::clone(&self.0), address }),
            Err(refused) => {
                if let Some(times) = self.0.refusals.happened() {
                    let peer = peer.map_or_else(|| "this machine".to_owned(), |peer| peer.to_string());
                    let Inner { listener, raise, .. } = &*self.0;
                    let raise = if refused == Refused::Process { String::new() } else { format!("; raise {raise}") };
                    tracing::warn!(listener, peer, times, "refused a connection: {refused}{raise}");
                }
                Err(refused)
            }
        }
    }

    /// The next connection, and whether it gets in. May be given up and asked again.
    pub async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr, Result<Permit, Refused>) {
        let accept = || async { listener.accept().await.map(|(stream, peer)| ((stream, peer), Some(peer.ip()))) };
        let ((stream, peer), admitted) = self.next(accept).await;
        (stream, peer, admitted)
    }

    /// What `accept` brings next, and whether it gets in. Trouble of the system, most of all no descriptors, passes when some
    /// are free again: the listener goes on, after a pause, and must not spin meanwhile.
    pub(crate) async fn next<S, A>(&self, mut accept: impl FnMut() -> A) -> (S, Result<Permit, Refused>)
    where
        A: Future<Output = io::Result<(S, Option<IpAddr>)>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match accept().await {
                Ok((stream, peer)) => return (stream, self.admit(peer)),
                Err(error) => {
                    if let Some(times) = self.0.trouble.happened() {
                        tracing::warn!(listener = self.0.listener, times, %error, "cannot accept a connection; trying again");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }
}

impl Inner {
    /// Counts somebody from `peer`; the address that it is counted for.
    fn try_admit(&self, peer: Option<IpAddr>) -> Result<Option<IpAddr>, Refused> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Crowd { most, per_address } = self.crowd;
        if inside.all >= most {
            return Err(Refused::Full { most });
        }
        let address = peer.map(network).filter(|peer| per_address.is_some() || !peer.is_loopback());
        let each = per_address.unwrap_or_else(|| (most / 2).max(FEW));
        let there = address.and_then(|address| inside.by_address.get(&address)).copied().unwrap_or(0);
        if there >= each {
            return Err(Refused::Address { most: each });
        }
        if !self.budget.take(self.cost, inside.all * self.cost) {
            return Err(Refused::Process);
        }
        inside.all += 1;
        if let Some(address) = address {
            inside.by_address.insert(address, there + 1);
        }
        Ok(address)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Inner { inside, budget, cost, .. } = &*self.gate;
        let mut inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(address) = self.address
            && let Some(there) = inside.by_address.get_mut(&address)
        {
            *there -= 1;
            if *there == 0 {
                inside.by_address.remove(&address);
            }
        }
        budget.used.fetch_sub(*cost, Ordering::Relaxed);
    }
}

/// Whose address `peer` is: the holder of one IPv6 address has all 2⁶⁴ of its network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// Descriptors that connections may take.
#[derive(Debug)]
struct Budget {
    most: usize,
    used: AtomicUsize,
}

impl Budget {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0) })
    }

    /// Half of what the process may open, as that was when the first listener asked.
    fn of_process() -> Arc<Self> {
        static OURS: LazyLock<Arc<Budget>> = LazyLock::new(|| {
            let most = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
            Budget::new(most.unwrap_or(usize::MAX) / 2)
        });
        Arc::clone(&OURS)
    }

    /// Takes `cost` for a listener that has taken `own`, if that leaves enough for others.
    fn take(&self, cost: usize, own: usize) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let free = self.most.saturating_sub(used);
            (cost <= free && own + cost <= free.saturating_mul(SHARE)).then_some(used + cost)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(most: usize, per_address: Option<usize>, budget: &Arc<Budget>) -> Gate {
        Gate::within("a test", "nothing", Crowd { most, per_address }, 1, Arc::clone(budget))
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    /// As many as get in, of `count` from `peer`.
    fn crowd(gate: &Gate, peer: &str, count: usize) -> Vec<Permit> {
        (0..count).filter_map(|_| gate.admit(from(peer)).ok()).collect()
    }

    #[test]
    fn no_more_get_in_than_there_is_room_for_until_somebody_leaves() {
        let gate = gate(2, None, &Budget::new(1000));
        let mut inside = crowd(&gate, "192.0.2.1", 3);
        assert_eq!(inside.len(), 2);
        assert_eq!(gate.admit(from("192.0.2.2")).unwrap_err(), Refused::Full { most: 2 });
        inside.pop();
        assert!(gate.admit(from("192.0.2.2")).is_ok());
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let budget = Budget::new(1000);
        let by_default = gate(100, None, &budget);
        let _many = crowd(&by_default, "192.0.2.1", 100);
        assert_eq!(by_default.admit(from("::ffff:192.0.2.1")).unwrap_err(), Refused::Address { most: 50 });
        assert!(by_default.admit(from("192.0.2.2")).is_ok());
        // Who is on this machine is counted only if the spec says how many.
        assert_eq!(crowd(&by_default, "127.0.0.1", 50).len(), 50);
        let by_spec = gate(100, Some(3), &budget);
        assert_eq!(crowd(&by_spec, "127.0.0.1", 10).len(), 3);
        // All addresses of an IPv6 network are one person's.
        let networks: Vec<_> = (0..10).flat_map(|host| crowd(&by_spec, &format!("2001:db8::{host}"), 1)).collect();
        assert_eq!(networks.len(), 3);
        assert!(by_spec.admit(from("2001:db8:0:1::1")).is_ok());
        drop(networks);
        assert_eq!(by_spec.0.inside.lock().unwrap().by_address.len(), 0, "nothing is kept of who has left");
    }

    #[test]
    fn a_crowd_at_one_port_leaves_room_at_every_other() {
        let budget = Budget::new(512);
        let (first, second, third) = (gate(1000, None, &budget), gate(1000, None, &budget), gate(4, None, &budget));
        let crowds = [crowd(&first, "127.0.0.1", 1000), crowd(&second, "127.0.0.1", 1000)];
        assert_eq!(crowds.each_ref().map(Vec::len), [384, 96]);
        assert_eq!(first.admit(None).unwrap_err(), Refused::Process);
        assert_eq!(crowd(&third, "127.0.0.1", 4).len(), 4);
        drop(crowds);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_a_connection_takes_counts() {
        let gate = Gate::within("a test", "nothing", Crowd { most: 1000, per_address: None }, 3, Budget::new(100));
        assert_eq!(crowd(&gate, "127.0.0.1", 1000).len(), 25);
    }

    #[tokio::test]
    async fn a_listener_survives_trouble_of_the_system() {
        let gate = gate(1, None, &Budget::new(1000));
        let mut failures = 4;
        let (came, admitted) = gate
            .next(|| {
                failures -= 1;
                std::future::ready(if failures == 0 {
                    Ok(("somebody", None))
                } else {
                    Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()))
                })
            })
            .await;
        assert!(admitted.is_ok() && came == "somebody");
    }
}
