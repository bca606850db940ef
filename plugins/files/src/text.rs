//! The bytes of a file as they were written, whether it is packed or not.

use std::{
    fmt,
    io::{self, Read},
    rc::Rc,
    time::Instant,
};

use spout_guest::now;
use spout_unpack::{Gzip, Zstd};

use crate::{
    disk::{Handle, Stat},
    mark::Content,
    names::Packing,
};

/// An open file.
pub(crate) struct Text {
    handle: Rc<Handle>,
    packed: Option<Packed>,
}

/// A packed file can only be read forwards.
struct Packed {
    packing: Packing,
    stream: Box<dyn Read>,
    at: u64,
    /// The first bytes, and the last before `at`: those are asked for again.
    first: Vec<u8>,
    recent: Vec<u8>,
    over: bool,
    /// It cannot be unpacked any further.
    broken: Option<String>,
}

/// Bytes kept of a packed file, at its start and before the place.
const FIRST: usize = 4 << 10;
const RECENT: usize = 64 << 10;

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Text {
    pub(crate) fn new(handle: Handle, packing: Packing) -> Self {
        let handle = Rc::new(handle);
        let packed = (packing != Packing::Plain).then(|| Packed::open(packing, &handle));
        Self { handle, packed }
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        self.handle.stat()
    }

    /// The file itself, where it is not packed.
    pub(crate) fn plain(&self) -> Option<&Handle> {
        self.packed.is_none().then_some(&*self.handle)
    }

    /// Bytes there are, where that is known without unpacking.
    pub(crate) fn length(&self) -> io::Result<Option<u64>> {
        match &self.packed {
            None => self.stat().map(|stat| Some(stat.length)),
            Some(packed) => Ok(packed.over.then_some(packed.at)),
        }
    }

    /// What keeps this from being unpacked behind the bytes that were given.
    pub(crate) fn damage(&self) -> Option<io::Error> {
        self.packed.as_ref()?.broken.clone().map(io::Error::other)
    }

    /// Reads up to `length` bytes at `from` into the end of `into`; fewer only at the end, or where it is damaged.
    pub(crate) fn fill(&mut self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.packed {
            None => self.handle.fill(from, length, into),
            Some(packed) => packed.fill(&self.handle, from, length, into),
        }
    }

    /// Unpacks up to `place`, until `deadline` at the latest; whether it came there or to the end.
    pub(crate) fn reach(&mut self, place: u64, deadline: Instant) -> io::Result<bool> {
        let Some(packed) = &mut self.packed else { return Ok(true) };
        let mut scratch = Vec::new();
        while packed.at < place && !packed.over {
            if now() >= deadline {
                return Ok(false);
            }
            scratch.clear();
            let step = usize::try_from(place - packed.at).unwrap_or(usize::MAX).min(1 << 20);
            packed.next(step, &mut scratch)?;
        }
        Ok(true)
    }
}

impl Content for Text {
    fn bytes(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.fill(from, length, &mut bytes)?;
        Ok(bytes)
    }
}

impl Packed {
    fn open(packing: Packing, handle: &Rc<Handle>) -> Self {
        let tape = Tape { handle: Rc::clone(handle), at: 0 };
        let stream: Box<dyn Read> = match packing {
            Packing::Gzip => Box::new(Gzip::new(tape)),
            Packing::Plain | Packing::Zstd => Box::new(Zstd::new(tape)),
        };
        Self { packing, stream, at: 0, first: Vec::new(), recent: Vec::new(), over: false, broken: None }
    }

    fn fill(&mut self, handle: &Rc<Handle>, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        let end = from.saturating_add(length as u64);
        if end <= self.first.len() as u64 {
            into.extend_from_slice(self.first.get(from as usize..end as usize).unwrap_or_default());
            return Ok(length);
        }
        if from < self.at - self.recent.len() as u64 {
            *self = Self::open(self.packing, handle);
        }
        let mut scratch = Vec::new();
        while self.at < from && !self.over {
            scratch.clear();
            let step = usize::try_from(from - self.at).unwrap_or(usize::MAX).min(1 << 20);
            self.next(step, &mut scratch)?;
        }
        if from < self.at {
            let kept = self.recent.len() - (self.at - from) as usize;
            let again = self.recent.get(kept..).unwrap_or_default();
            into.extend_from_slice(again.get(..length).unwrap_or(again));
        }
        while into.len() - before < length && !self.over {
            match self.next(length - (into.len() - before), into) {
                // What came before the damage counts; the next read meets it.
                Err(_) if into.len() > before => break,
                unpacked => unpacked?,
            }
        }
        Ok(into.len() - before)
    }

    /// Unpacks up to `length` bytes more.
    fn next(&mut self, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        if let Some(broken) = &self.broken {
            return Err(io::Error::other(broken.clone()));
        }
        let before = into.len();
        into.resize(before + length, 0);
        let mut filled = before;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.stream.read(rest) {
                Ok(0) => {
                    self.over = true;
                    break;
                }
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What came before the damage counts.
                Err(error) => {
                    self.broken = Some(error.to_string());
                    break;
                }
            }
        }
        into.truncate(filled);
        let fresh = into.get(before..).unwrap_or_default();
        self.at += fresh.len() as u64;
        let missing = fresh.len().min(FIRST.saturating_sub(self.first.len()));
        self.first.extend_from_slice(fresh.get(..missing).unwrap_or_default());
        self.recent.extend_from_slice(fresh.get(fresh.len().saturating_sub(RECENT)..).unwrap_or_default());
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        match &self.broken {
            Some(broken) if filled == before => Err(io::Error::other(broken.clone())),
            _ => Ok(()),
        }
    }
}

/// A file as a stream.
struct Tape {
    handle: Rc<Handle>,
    at: u64,
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = Vec::new();
        let read = self.handle.fill(self.at, buffer.len(), &mut bytes)?;
        if let Some(to) = buffer.get_mut(..read) {
            to.copy_from_slice(&bytes);
        }
        self.at += read as u64;
        Ok(read)
    }
}
