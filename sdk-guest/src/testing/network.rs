//! A network in memory: peers that a test writes down, in the place of servers, sockets and waiting.
//!
//! ```
//! use std::time::Duration;
//! use spout_guest::{net::Wire, now, testing::{Network, Peer}};
//!
//! let network = Network::new();
//! network.peer("broker:4222", Peer::new().hears("PING\r\n").delays(Duration::from_secs(3)).says("PONG\r\n"));
//! let until = now() + Duration::from_secs(5);
//! let mut wire = Wire::connect("broker:4222", until)?;
//! wire.send(b"PING\r\n", until)?;
//! let pong = wire.receive(until, |got| Ok::<_, std::io::Error>((got.len() == 6).then(|| got.split())))?;
//! assert_eq!((&pong[..], network.heard("broker:4222")), (&b"PONG\r\n"[..], vec![b"PING\r\n".to_vec()]));
//! # Ok::<_, std::io::Error>(())
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io,
    marker::PhantomData,
    rc::Rc,
    time::{Duration, Instant},
};

use super::recorded::{Recorded, Turn};

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Debug, Default)]
struct State {
    /// Whether there is a network of this kind.
    open: bool,
    peers: BTreeMap<String, VecDeque<Peer>>,
    heard: BTreeMap<String, Vec<Rc<RefCell<Vec<u8>>>>>,
    /// How much time has passed that nobody waited for.
    skipped: Duration,
    /// Whether there is the network of the machine behind it, of which all is written down.
    records: bool,
    recorded: BTreeMap<String, Vec<Rc<RefCell<Vec<Turn>>>>>,
}

/// What there is of the network for this thread, until it is dropped: nothing is reached but its peers.
///
/// Time does not pass while something is waited for; [`crate::now`] only says that it has.
#[derive(Debug)]
pub struct Network(PhantomData<*const ()>);

/// A peer: what it does with one connection, in this order. It then answers as it does [`Peer::whenever`] it hears something, or says
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    steps: VecDeque<Step>,
    rules: Vec<(Vec<u8>, Vec<u8>)>,
    pieces: Option<usize>,
    secure: bool,
    refuses: bool,
    again: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Say(VecDeque<u8>),
    Hear(Vec<u8>),
    Take(usize),
    Delay(Duration),
    Close,
}

impl Network {
    /// A network without a peer.
    #[must_use]
    pub fn new() -> Self {
        STATE.set(State { open: true, ..State::default() });
        Self(PhantomData)
    }

    /// The network of the machine, whatever is said there being written down.
    pub(super) fn recording() -> Self {
        STATE.set(State { open: true, records: true, ..State::default() });
        Self(PhantomData)
    }

    /// What was said, by address and connection.
    pub(super) fn recorded(&self) -> BTreeMap<String, Vec<Vec<Turn>>> {
        let whole = |turns: &Rc<RefCell<Vec<Turn>>>| turns.borrow().clone();
        STATE.with_borrow(|state| {
            let all = state.recorded.iter();
            all.map(|(address, all)| (address.clone(), all.iter().map(whole).collect())).collect()
        })
    }

    /// Has `peer` take the next connection to `address`, after those that were named for it before. Who connects when there is none is
    /// refused.
    pub fn peer(&self, address: &str, peer: Peer) {
        STATE.with_borrow_mut(|state| state.peers.entry(address.to_owned()).or_default().push_back(peer));
    }

    /// What was sent to `address`, by connection.
    #[must_use]
    pub fn heard(&self, address: &str) -> Vec<Vec<u8>> {
        STATE.with_borrow(|state| {
            let heard = state.heard.get(address).into_iter().flatten();
            heard.map(|heard| heard.borrow().clone()).collect()
        })
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        STATE.take();
    }
}

impl Peer {
    /// One that takes a connection and says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that refuses to be connected to.
    #[must_use]
    pub fn refusing() -> Self {
        Self { refuses: true, ..Self::default() }
    }

    /// Sends these bytes.
    #[must_use]
    pub fn says(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Say(bytes.as_ref().iter().copied().collect()))
    }

    /// Waits until these bytes were sent to it; what was sent before them and after the last ones is passed over.
    #[must_use]
    pub fn hears(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Hear(bytes.as_ref().to_vec()))
    }

    /// Sends `answer` each time that `bytes` were sent to it, once it has done all else. Of several, the one that was sent first counts.
    #[must_use]
    pub fn whenever(mut self, bytes: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> Self {
        self.rules.push((bytes.as_ref().to_vec(), answer.as_ref().to_vec()));
        self
    }

    /// Waits until so many bytes more were sent to it, whatever they are.
    #[must_use]
    pub fn takes(self, bytes: usize) -> Self {
        self.then(Step::Take(bytes))
    }

    /// Does nothing for so long.
    #[must_use]
    pub fn delays(self, time: Duration) -> Self {
        self.then(Step::Delay(time))
    }

    /// Closes the connection.
    #[must_use]
    pub fn closes(self) -> Self {
        self.then(Step::Close)
    }

    /// Sends what it says in pieces of at most so many bytes, however much it is asked for.
    #[must_use]
    pub fn in_pieces(self, bytes: usize) -> Self {
        Self { pieces: Some(bytes.max(1)), ..self }
    }

    /// Closes the connection after it has sent so many bytes.
    #[must_use]
    pub fn cut_at(mut self, bytes: usize) -> Self {
        let mut left = bytes;
        for at in 0..self.steps.len() {
            let Some(Step::Say(said)) = self.steps.get_mut(at) else { continue };
            if said.len() > left {
                said.truncate(left);
                self.steps.truncate(at + 1);
                return self.closes();
            }
            left -= said.len();
        }
        self
    }

    /// Says another byte in the place of the one at `at`, counted over all that it says.
    #[must_use]
    pub fn with_byte(mut self, at: usize, byte: u8) -> Self {
        let mut left = at;
        for step in &mut self.steps {
            let Step::Say(said) = step else { continue };
            if let Some(there) = said.get_mut(left) {
                *there = byte;
                return self;
            }
            left -= said.len();
        }
        self
    }

    /// How many bytes it says.
    #[must_use]
    pub fn length(&self) -> usize {
        let said = |step: &Step| if let Step::Say(said) = step { said.len() } else { 0 };
        self.steps.iter().map(said).sum()
    }

    /// Is reached through TLS, as an endpoint with `tls` is.
    #[must_use]
    pub fn secure(self) -> Self {
        Self { secure: true, ..self }
    }

    /// Takes not one connection but all that come from then on, and does the same with each.
    #[must_use]
    pub fn every_time(self) -> Self {
        Self { again: true, ..self }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }
}

/// What the clock says beyond the machine's.
pub(crate) fn skipped() -> Duration {
    STATE.with_borrow(|state| state.skipped)
}

fn pass(time: Duration) {
    STATE.with_borrow_mut(|state| state.skipped += time);
}

/// Lets time pass, where there is a network of this kind; whether there is.
pub(crate) fn passes(time: Duration) -> bool {
    let open = STATE.with_borrow(|state| state.open && !state.records);
    if open {
        pass(time);
    }
    open
}

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: Peer,
    address: String,
    plain: bool,
    /// All that was sent, and how much of it the peer has used.
    heard: Rc<RefCell<Vec<u8>>>,
    used: usize,
    closed: bool,
    /// The connection of the machine that it is in truth.
    real: Option<Recorded>,
}

impl Connection {
    /// A connection to `to`; none if there is no network of this kind.
    pub(crate) fn open(to: &str, plain: bool) -> Option<io::Result<Self>> {
        STATE.with_borrow_mut(|state| {
            if !state.open {
                return None;
            }
            if state.records {
                let record = Rc::<RefCell<Vec<Turn>>>::default();
                state.recorded.entry(to.to_owned()).or_default().push(Rc::clone(&record));
                let real = Recorded::open(to, record);
                return Some(real.map(|real| Self::to(to, plain, Peer::default(), Some(real))));
            }
            let peers = state.peers.get_mut(to);
            let peer =
                peers.and_then(|peers| if peers.front()?.again { peers.front().cloned() } else { peers.pop_front() });
            let Some(peer) = peer.filter(|peer| !peer.refuses) else {
                return Some(Err(io::ErrorKind::ConnectionRefused.into()));
            };
            let opened = Self::to(to, plain, peer, None);
            state.heard.entry(to.to_owned()).or_default().push(Rc::clone(&opened.heard));
            Some(Ok(opened))
        })
    }

    fn to(to: &str, plain: bool, peer: Peer, real: Option<Recorded>) -> Self {
        Self { peer, address: to.to_owned(), plain, heard: Rc::default(), used: 0, closed: false, real }
    }

    pub(crate) fn start_tls(&mut self) -> bool {
        self.plain = false;
        self.peer.secure
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.peer.secure && !self.plain
    }

    pub(crate) fn peer(&self) -> String {
        self.address.clone()
    }

    /// Does what the peer does by itself: until it says something, or waits.
    fn advance(&mut self, mut within: Duration) -> io::Result<()> {
        loop {
            match self.peer.steps.front_mut() {
                Some(Step::Say(said)) if said.is_empty() => {}
                Some(Step::Say(_)) => return Ok(()),
                Some(Step::Delay(time)) if *time <= within => {
                    within -= *time;
                    pass(*time);
                }
                Some(Step::Delay(time)) => {
                    *time -= within;
                    return Err(late(within));
                }
                Some(Step::Hear(wanted)) => {
                    let found = place(&self.heard.borrow(), self.used, wanted);
                    self.used = found.ok_or_else(|| late(within))? + wanted.len();
                }
                Some(Step::Take(bytes)) => {
                    let upto = self.used + *bytes;
                    if self.heard.borrow().len() < upto {
                        return Err(late(within));
                    }
                    self.used = upto;
                }
                Some(Step::Close) => {
                    self.closed = true;
                    return Ok(());
                }
                None => {
                    let said = self.answer().ok_or_else(|| late(within))?;
                    self.peer.steps.push_back(Step::Say(said.into()));
                    continue;
                }
            }
            self.peer.steps.pop_front();
        }
    }

    /// What the peer answers to what was sent to it.
    fn answer(&mut self) -> Option<Vec<u8>> {
        let heard = self.heard.borrow();
        let found = self.peer.rules.iter().filter_map(|rule| Some((place(&heard, self.used, &rule.0)?, rule)));
        let (at, (wanted, answer)) = found.min_by_key(|(at, _)| *at)?;
        self.used = at + wanted.len();
        Some(answer.clone())
    }

    pub(crate) fn receive(&mut self, most: usize, within: Duration) -> io::Result<Vec<u8>> {
        if let Some(real) = &mut self.real {
            return real.receive(most, within);
        }
        self.advance(within)?;
        let most = most.min(self.peer.pieces.unwrap_or(usize::MAX));
        Ok(match self.peer.steps.front_mut() {
            Some(Step::Say(said)) => said.drain(..most.min(said.len())).collect(),
            _ => Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(real) = &mut self.real {
            return real.send(bytes);
        }
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.heard.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Whether a read would not wait.
    pub(crate) fn readable(&mut self) -> bool {
        match &self.real {
            Some(real) => real.readable(),
            None => self.advance(Duration::ZERO).is_ok(),
        }
    }
}

/// Where `wanted` is in `heard`, from `from` on.
fn place(heard: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let behind = heard.get(from..)?;
    let found = if wanted.is_empty() { Some(0) } else { behind.windows(wanted.len()).position(|at| at == wanted) };
    found.map(|at| from + at)
}

/// Time passes, and nothing came.
fn late(within: Duration) -> io::Error {
    if within.is_zero() {
        return io::ErrorKind::WouldBlock.into();
    }
    pass(within);
    io::ErrorKind::TimedOut.into()
}

/// The clock of this thread.
pub(crate) fn clock() -> Instant {
    Instant::now() + skipped()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::net::{Client, Connection, PATIENCE};

    fn open(peer: Peer) -> Connection {
        let network = Network::new();
        network.peer("a:1", peer);
        // The peer of a connection outlives what it was named in.
        Connection::open("a:1", PATIENCE).unwrap()
    }

    #[test]
    fn a_peer_does_what_is_written_down() {
        let network = Network::new();
        network.peer("a:1", Peer::new().says("hello").hears("go\n").says("gone").closes());
        network.peer("a:1", Peer::refusing());
        let mut one = Connection::open("a:1", PATIENCE).unwrap();
        let mut text = String::new();
        assert_eq!(one.receive(100).unwrap(), b"hello");
        one.write_all(b"..go").unwrap();
        assert_eq!(one.receive(100).unwrap_err().kind(), io::ErrorKind::TimedOut);
        one.write_all(b"\n").unwrap();
        one.read_to_string(&mut text).unwrap();
        assert_eq!(text, "gone");
        assert_eq!(one.write(b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(network.heard("a:1"), [b"..go\n".to_vec()]);
        for _ in 0..2 {
            let refused = Connection::open("a:1", PATIENCE).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[test]
    fn a_peer_answers_what_it_hears() {
        let mut one = open(Peer::new().says("hi").whenever("A\n", "a").whenever("B\n", "b"));
        one.write_all(b"B\nA\nC\nB\n").unwrap();
        let mut said = [0; 5];
        one.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hibab");
        assert_eq!(one.receive(1).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn time_passes_without_being_waited_for() {
        let begun = Instant::now();
        let network = Network::new();
        network.peer("a:1", Peer::new().delays(Duration::from_secs(3600)).says("late"));
        let (mut slow, before) = (Connection::open("a:1", PATIENCE).unwrap(), clock());
        let mut waits = 0;
        while slow.receive(1).is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            waits += 1;
        }
        assert_eq!(waits, 719);
        assert!(clock() - before >= Duration::from_secs(3600) && begun.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn what_is_said_can_be_cut_spoilt_and_come_in_pieces() {
        let said = |peer: Peer| {
            let mut text = Vec::new();
            open(peer.closes()).read_to_end(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        let peer = || Peer::new().says("abc").says("def");
        assert_eq!((said(peer()), peer().length()), ("abcdef".into(), 6));
        assert_eq!(said(peer().in_pieces(1)), "abcdef");
        let cuts: Vec<String> = (0..=7).map(|at| said(peer().cut_at(at))).collect();
        assert_eq!(cuts, ["", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdef"]);
        assert_eq!(said(peer().with_byte(4, b'X').with_byte(9, b'Y')), "abcdXf");
    }

    #[test]
    fn http_is_spoken_over_it() {
        let network = Network::new();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        network.peer("api.example.com:80", Peer::new().hears("\r\n\r\n").says(answer).in_pieces(1).every_time());
        for _ in 0..2 {
            let response = Client::new().get("http://api.example.com/quotes").unwrap();
            assert_eq!((response.status, response.body), (200, b"hi".to_vec()));
        }
        // One that sends a byte now and then does not keep anybody for ever.
        let drip = (0..60).fold(Peer::new(), |peer, _| peer.says("H").delays(Duration::from_secs(1)));
        network.peer("slow.example.com:80", drip);
        let late = Client::new().get("http://slow.example.com/").unwrap_err().to_string();
        assert!(late.contains("time"), "{late}");
    }
}
