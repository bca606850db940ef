//! What servers say is written down, and said again with something wrong in it: garbage, half of it, nothing, lengths that are absurd, at
//! every message.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    rc::Rc,
    time::Duration,
};

use super::network::{Network, Peer};
use crate::Result;

/// What a call may take, unless a spec says otherwise.
const CALL: Duration = Duration::from_secs(10);
/// Bytes of a message whose places are spoilt one by one.
const HEAD: usize = 24;

/// One after the other, what was said on a connection.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// So many bytes by us.
    Ours(usize),
    /// These by the server.
    Theirs(Vec<u8>),
    /// The server closed it.
    End,
}

/// A connection of the machine of which all is written down.
#[derive(Debug)]
pub(super) struct Recorded {
    stream: TcpStream,
    record: Rc<RefCell<Vec<Turn>>>,
}

impl Recorded {
    pub(super) fn open(to: &str, record: Rc<RefCell<Vec<Turn>>>) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(to)?, record })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        let mut record = self.record.borrow_mut();
        match record.last_mut() {
            Some(Turn::Ours(before)) => *before += count,
            _ => record.push(Turn::Ours(count)),
        }
        Ok(count)
    }

    pub(super) fn receive(&mut self, most: usize, within: Duration) -> io::Result<Vec<u8>> {
        self.stream.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        let mut bytes = vec![0; most];
        let count = self.stream.read(&mut bytes)?;
        bytes.truncate(count);
        let mut record = self.record.borrow_mut();
        match record.last_mut() {
            _ if bytes.is_empty() => record.push(Turn::End),
            Some(Turn::Theirs(before)) => before.extend_from_slice(&bytes),
            _ => record.push(Turn::Theirs(bytes.clone())),
        }
        Ok(bytes)
    }

    pub(super) fn readable(&self) -> bool {
        let mut one = [0];
        let ready = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut one));
        drop(self.stream.set_nonblocking(false));
        ready.is_ok()
    }
}

/// What came of a conversation with something wrong in it.
#[derive(Debug)]
pub struct Spoilt<T> {
    /// What was wrong, and where.
    pub what: String,
    /// What came of it.
    pub outcome: Result<T>,
}

impl<T> Spoilt<T> {
    /// Checks that an error has a code that begins with one of these, or says that a position is gone.
    ///
    /// # Panics
    /// If it has another one.
    pub fn is_told_as(&self, codes: &[&str]) {
        let Err(error) = &self.outcome else { return };
        let gone = matches!(error, crate::Error::OutOfRange { .. });
        let told = error.to_string();
        assert!(gone || codes.iter().any(|code| told.starts_with(code)), "{}: {told}", self.what);
    }
}

/// Runs `read` against the servers that there are, which has to go well, and then again and again against what they said, with something
/// wrong in each of their messages: garbage, lengths that are absurd, half of a message and none, a byte of its beginning that is another
/// one. What came of each is for the test to judge; none may panic, or take as long as a call may.
///
/// # Panics
/// If `read` fails while nothing is wrong, or takes too long.
pub fn spoilt<T>(mut read: impl FnMut() -> Result<T>) -> Vec<Spoilt<T>> {
    let network = Network::recording();
    assert!(read().is_ok(), "reading goes well where nothing is wrong");
    let recorded = network.recorded();
    drop(network);
    let all: Vec<(&String, &Vec<Turn>)> =
        recorded.iter().flat_map(|(address, connections)| connections.iter().map(move |one| (address, one))).collect();
    let mut again = |changed: Option<(usize, usize)>, wrong: Option<&Wrong>| {
        let network = Network::new();
        for (at, (address, turns)) in all.iter().enumerate() {
            let place = changed.filter(|(connection, _)| *connection == at).map(|(_, turn)| turn);
            network.peer(address, peer(turns, place.zip(wrong)));
        }
        let before = crate::now();
        let outcome = read();
        (outcome, crate::now() - before)
    };
    assert!(again(None, None).0.is_ok(), "what was written down is as good as what was said");
    let mut found = Vec::new();
    for (connection, (address, turns)) in all.iter().enumerate() {
        for (turn, said) in turns.iter().enumerate() {
            let Turn::Theirs(said) = said else { continue };
            for wrong in Wrong::all(said.len()) {
                let (outcome, took) = again(Some((connection, turn)), Some(&wrong));
                let what = format!("{address}, connection {connection}, message {turn}: {wrong:?}");
                assert!(took < CALL, "{what}: it took {took:?}");
                found.push(Spoilt { what, outcome });
            }
        }
    }
    found
}

/// What is wrong with a message.
#[derive(Clone, Debug)]
enum Wrong {
    /// It is not said, nor is anything after it.
    Silence,
    /// The connection ends before it.
    Missing,
    /// The connection ends within it.
    Half,
    /// It is so many of these bytes instead, and nothing follows.
    Instead(usize, u8),
    /// It is bytes of chance.
    Noise,
    /// It is said twice.
    Twice,
    /// This byte is another one.
    Byte(usize, u8),
}

impl Wrong {
    fn all(length: usize) -> Vec<Self> {
        let whole = [Self::Silence, Self::Missing, Self::Half, Self::Noise, Self::Twice];
        let instead = [0, 0x7f, 0xff, b'9', b'\n']
            .into_iter()
            .flat_map(|byte| [Self::Instead(4096, byte), Self::Instead(9, byte)]);
        let byte = (0..length.min(HEAD)).flat_map(|at| [0, 0x7f, 0xff].map(|byte| Self::Byte(at, byte)));
        whole.into_iter().chain(instead).chain(byte).collect()
    }

    /// What is said in the place of `said`, and whether the connection ends then, or nothing more is said.
    fn of(&self, said: &[u8]) -> (Vec<u8>, Option<bool>) {
        match self {
            Self::Silence => (Vec::new(), Some(false)),
            Self::Missing => (Vec::new(), Some(true)),
            Self::Half => (said.get(..said.len() / 2).unwrap_or_default().to_vec(), Some(true)),
            Self::Instead(count, byte) => (vec![*byte; *count], Some(false)),
            Self::Noise => {
                ((0..8192_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect(), Some(false))
            }
            Self::Twice => (said.repeat(2), None),
            Self::Byte(at, byte) => {
                let mut said = said.to_vec();
                said.iter_mut().skip(*at).take(1).for_each(|there| *there = *byte);
                (said, None)
            }
        }
    }
}

/// A peer that says what was written down, with one message of it wrong.
fn peer(turns: &[Turn], wrong: Option<(usize, &Wrong)>) -> Peer {
    let mut peer = Peer::new();
    for (at, turn) in turns.iter().enumerate() {
        peer = match turn {
            Turn::Ours(count) => peer.takes(*count),
            Turn::Theirs(said) => match wrong.filter(|(place, _)| *place == at) {
                None => peer.says(said),
                Some((_, wrong)) => {
                    let (said, over) = wrong.of(said);
                    let peer = peer.says(said);
                    match over {
                        None => peer,
                        Some(true) => return peer.closes(),
                        Some(false) => return peer,
                    }
                }
            },
            Turn::End => peer.closes(),
        };
    }
    peer
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Error, net::Client};

    #[test]
    fn whatever_is_wrong_with_an_answer_is_seen() {
        let url = crate::testing::serve(|_, _| ("200 OK".to_owned(), b"hello".to_vec())).unwrap();
        let begun = Instant::now();
        let all = spoilt(|| {
            let body = Client::new().get(&url).map_err(Error::from)?.success()?.body;
            Ok(String::from_utf8_lossy(&body).into_owned())
        });
        assert!(all.len() > 70, "{}", all.len());
        let well = all.iter().filter(|one| one.outcome.as_ref().is_ok_and(|body| body == "hello")).count();
        let failed = all.iter().filter(|one| one.outcome.is_err()).count();
        assert!(well > 0 && failed > 40, "{well} were as good as before, {failed} failed");
        assert!(begun.elapsed() < Duration::from_secs(100), "time passes without being waited for");
    }
}
