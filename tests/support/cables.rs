//! Cables between processes, which can be cut, cut in one direction, made slow or thin: what goes from one to another passes here.
//!
//! A cut is like that of a real cable: nothing is closed, what was sent waits, and arrives once the cable is whole again, unless one side has
//! given up. Who calls is known by the address that it calls from.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Bytes that are read at once, and how many such pieces may be on a cable at once.
const PIECE: usize = 16 << 10;
const PIECES: usize = 64;

/// What a cable does in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Nothing passes.
    pub cut: bool,
    /// Each byte takes so long.
    pub delay: Duration,
    /// So many bytes a second; as many as there are if it does not say.
    pub rate: Option<u32>,
}

impl Way {
    /// Nothing passes.
    pub const CUT: Self = Self { cut: true, delay: Duration::ZERO, rate: None };
    /// All passes at once.
    pub const WHOLE: Self = Self { cut: false, delay: Duration::ZERO, rate: None };
}

/// The cable of a caller to a place, in both directions: what the caller sends, and what it gets.
type Both = (Way, Way);

#[derive(Debug, Default)]
struct Shared {
    ways: Mutex<BTreeMap<(IpAddr, String), Both>>,
    changed: Condvar,
    open: Mutex<Vec<(IpAddr, String, TcpStream)>>,
}

/// All cables of a test.
#[derive(Clone, Debug, Default)]
pub struct Cables {
    shared: Arc<Shared>,
}

impl Cables {
    /// A port at `hub` that leads to `address`; cables to it are those to `place`.
    ///
    /// # Errors
    /// If there is no port.
    pub fn lead(&self, hub: Ipv4Addr, place: &str, address: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind((hub, 0))?;
        let port = listener.local_addr()?;
        let (shared, place) = (Arc::clone(&self.shared), place.to_owned());
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (shared, place) = (Arc::clone(&shared), place.clone());
                // A connection that breaks is what this is for.
                thread::spawn(move || drop(serve(&shared, client, place, address)));
            }
        });
        Ok(port)
    }

    /// From now on the cable of `caller` to `place` is like this: `there` is what the caller sends.
    pub fn set(&self, caller: impl Into<IpAddr>, place: &str, there: Way, back: Way) {
        locked(&self.shared.ways).insert((caller.into(), place.to_owned()), (there, back));
        self.shared.changed.notify_all();
    }

    /// All cables are whole.
    pub fn mend(&self) {
        locked(&self.shared.ways).clear();
        self.shared.changed.notify_all();
    }

    /// Closes the connections of `caller` to `place`, as a router does that was restarted.
    pub fn reset(&self, caller: impl Into<IpAddr>, place: &str) {
        let caller = caller.into();
        locked(&self.shared.open).retain(|(from, to, stream)| {
            let stays = *from != caller || to != place;
            if !stays {
                // It may be closed already.
                drop(stream.shutdown(Shutdown::Both));
            }
            stays
        });
    }
}

impl Shared {
    fn way(ways: &BTreeMap<(IpAddr, String), Both>, cable: &(IpAddr, String), back: bool) -> Way {
        ways.get(cable).map_or(Way::WHOLE, |(there, and_back)| if back { *and_back } else { *there })
    }

    /// Waits until something passes in this direction; what the cable is like then.
    fn passes(&self, cable: &(IpAddr, String), back: bool) -> Way {
        let mut ways = locked(&self.ways);
        loop {
            let way = Self::way(&ways, cable, back);
            if !way.cut {
                return way;
            }
            ways = self.changed.wait(ways).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream, place: String, address: SocketAddr) -> io::Result<()> {
    let cable = (client.peer_addr()?.ip(), place);
    // Where either direction is cut, no connection comes about.
    for back in [false, true] {
        shared.passes(&cable, back);
    }
    let server = TcpStream::connect_timeout(&address, Duration::from_secs(20))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        locked(&shared.open).push((cable.0, cable.1.clone(), stream.try_clone()?));
    }
    for back in [false, true] {
        let (from, to) = if back { (&server, &client) } else { (&client, &server) };
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (sender, receiver) = sync_channel(PIECES);
        let (at, and_to) = (Arc::clone(shared), Arc::clone(shared));
        let (cable, same) = (cable.clone(), cable.clone());
        thread::spawn(move || take(&at, &cable, back, from, &sender));
        thread::spawn(move || give(&and_to, &same, back, to, &receiver));
    }
    Ok(())
}

/// Puts what comes on the cable.
fn take(
    shared: &Shared,
    cable: &(IpAddr, String),
    back: bool,
    mut from: TcpStream,
    sender: &SyncSender<(Instant, Vec<u8>)>,
) {
    let mut bytes = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let delay = Shared::way(&locked(&shared.ways), cable, back).delay;
        let piece = bytes.get(..read).unwrap_or_default().to_vec();
        if sender.send((Instant::now() + delay, piece)).is_err() {
            break;
        }
    }
}

/// Takes it off the cable at its other end.
fn give(
    shared: &Shared,
    cable: &(IpAddr, String),
    back: bool,
    mut to: TcpStream,
    receiver: &Receiver<(Instant, Vec<u8>)>,
) {
    for (due, piece) in receiver {
        until(due);
        let way = shared.passes(cable, back);
        if to.write_all(&piece).is_err() {
            break;
        }
        if let Some(rate) = way.rate.filter(|rate| *rate > 0) {
            until(Instant::now() + Duration::from_secs(1) * u32::try_from(piece.len()).unwrap_or(u32::MAX) / rate);
        }
    }
    // The end of a stream waits for a cut cable, too. It may be closed already.
    shared.passes(cable, back);
    drop(to.shutdown(Shutdown::Write));
}

/// Not a wait for something to happen: the delay of a cable is what is tested.
fn until(due: Instant) {
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const PLACE: &str = "store";

    /// A server that sends back what it gets, and a connection to it over a cable.
    fn echo(cables: &Cables) -> (TcpStream, SocketAddr) {
        let listener = TcpListener::bind((LOCAL, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let (mut from, mut to) = (stream.try_clone().expect("a handle"), stream);
                    drop(io::copy(&mut from, &mut to));
                    drop(to.shutdown(Shutdown::Write));
                });
            }
        });
        let led = cables.lead(LOCAL, PLACE, address).expect("a cable");
        (TcpStream::connect(led).expect("a connection"), led)
    }

    fn said(stream: &mut TcpStream, words: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(words)?;
        let mut back = vec![0; words.len()];
        stream.read_exact(&mut back)?;
        Ok(back)
    }

    /// Nothing comes for a while, without an end.
    fn silent(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(Duration::from_millis(150))).expect("a limit");
        let nothing = matches!(stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        nothing
    }

    #[test]
    fn bytes_pass_as_they_are_and_so_does_the_end() {
        let (mut stream, _) = echo(&Cables::default());
        let all: Vec<u8> = (0..1_000_000_u32).map(|byte| u8::try_from(byte % 251).unwrap_or_default()).collect();
        let mut writer = stream.try_clone().expect("a handle");
        let sent = all.clone();
        let writes = thread::spawn(move || {
            writer.write_all(&sent).expect("all is taken");
            writer.shutdown(Shutdown::Write).expect("an end");
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("an end comes back");
        writes.join().expect("all was written");
        assert!(back == all);
    }

    #[test]
    fn what_is_sent_over_a_cut_cable_arrives_when_it_is_whole_again() {
        for (there, back) in [(Way::CUT, Way::CUT), (Way::CUT, Way::WHOLE), (Way::WHOLE, Way::CUT)] {
            let cables = Cables::default();
            let (mut stream, led) = echo(&cables);
            assert_eq!(said(&mut stream, b"before").expect("whole"), b"before");
            cables.set(LOCAL, PLACE, there, back);
            stream.write_all(b"during").expect("it is taken");
            assert!(silent(&mut stream), "{there:?} {back:?}");
            let mut other = TcpStream::connect(led).expect("the port takes it");
            other.write_all(b"other").expect("it is taken");
            assert!(silent(&mut other), "a connection comes about over a cable that is cut");
            // Cables of others, and to other places, are not touched.
            cables.set([127, 0, 0, 9], PLACE, Way::CUT, Way::CUT);
            cables.set(LOCAL, PLACE, Way::WHOLE, Way::WHOLE);
            let mut words = [0; 6];
            stream.read_exact(&mut words).expect("what was sent arrives");
            assert_eq!(&words, b"during");
            let mut words = [0; 5];
            other.read_exact(&mut words).expect("so does that of a new connection");
            assert_eq!(&words, b"other");
        }
    }

    #[test]
    fn one_direction_is_cut_alone() {
        let listener = TcpListener::bind((LOCAL, 0)).expect("a port");
        let cables = Cables::default();
        let led = cables.lead(LOCAL, PLACE, listener.local_addr().expect("its address")).expect("a cable");
        let mut caller = TcpStream::connect(led).expect("a connection");
        let (mut called, _) = listener.accept().expect("a caller");
        cables.set(LOCAL, PLACE, Way::CUT, Way::WHOLE);
        caller.write_all(b"lost?").expect("it is taken");
        called.write_all(b"word").expect("it is taken");
        let mut words = [0; 4];
        caller.read_exact(&mut words).expect("the other direction is whole");
        assert!(silent(&mut called));
        cables.mend();
        called.read_exact(&mut words).expect("it was held, not lost");
        assert_eq!(&words, b"lost");
    }

    #[test]
    fn a_slow_cable_takes_its_time_and_a_thin_one_too() {
        let cables = Cables::default();
        let (mut stream, _) = echo(&cables);
        let slow = Way { delay: Duration::from_millis(60), ..Way::WHOLE };
        cables.set(LOCAL, PLACE, slow, slow);
        let begun = Instant::now();
        said(&mut stream, b"a word").expect("it passes");
        assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
        let thin = Way { rate: Some(400_000), ..Way::WHOLE };
        cables.set(LOCAL, PLACE, thin, Way::WHOLE);
        let begun = Instant::now();
        let (mut reader, all) = (stream.try_clone().expect("a handle"), vec![7; 100_000]);
        let reads = thread::spawn(move || {
            let mut back = vec![0; 100_000];
            reader.read_exact(&mut back).map(|()| back)
        });
        stream.write_all(&all).expect("it is taken");
        assert!(reads.join().expect("it reads").expect("all comes back") == all);
        // The last piece is there before its time is over.
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_reset_closes_what_is_open_and_nothing_else() {
        let cables = Cables::default();
        let (mut stream, led) = echo(&cables);
        said(&mut stream, b"word").expect("whole");
        cables.reset([127, 0, 0, 9], PLACE);
        said(&mut stream, b"word").expect("that was somebody else's");
        cables.reset(LOCAL, PLACE);
        assert!(said(&mut stream, b"word").is_err());
        said(&mut TcpStream::connect(led).expect("a connection"), b"word").expect("a new one is whole");
    }
}
