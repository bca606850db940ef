//! A stream of bytes in, messages out, whatever the pieces in which the bytes arrive.
//!
//! ```text
//! bytes ─► Unpack (gzip, zstd) ─► Cut (lines, length, netstring, …) ─► messages
//! ```
//!
//! **Invariant**: which messages come out depends on the bytes alone, never on how they were cut into pieces.

mod compression;
mod counted;
mod csv;
#[cfg(test)]
mod fuzz;
mod length;
mod lines;
mod spec;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::compression::Unpack;
pub use self::spec::{Compression, CsvStyle, FramingSpec, FramingType};
use super::Error;
use spout_data::Blobs;

/// Cuts one stream of bytes into messages.
///
/// Memory is bounded by one unfinished frame (`maxFrame`) and what one push grows to (`maxGrowth`).
#[derive(Debug)]
pub struct Framer {
    unpack: Unpack,
    cutting: Cutting,
    broken: Option<(u64, String, Part)>,
}

/// Which half of a framer an error is of.
#[derive(Clone, Copy, Debug)]
enum Part {
    Compression,
    Framing,
}

/// What is wrong, and at which byte.
#[derive(Debug)]
struct Broken {
    at: u64,
    reason: String,
    part: Part,
}

impl Framer {
    /// A framer at the beginning of a stream.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn new(spec: &FramingSpec) -> Result<Self, Error> {
        spec.check().map_err(|reason| Error::Framing { reason })?;
        let max = usize::try_from(spec.max_frame.0).unwrap_or(usize::MAX);
        let cut: Box<dyn Cut> = match spec.kind {
            FramingType::Lines => Box::new(lines::Lines::new(max)),
            FramingType::Csv => Box::new(csv::Records::new(spec, max).map_err(|reason| Error::Framing { reason })?),
            FramingType::Length => Box::new(length::Prefixed::new(spec, max)),
            FramingType::Netstring => Box::new(counted::Netstring(max)),
            FramingType::Digits => Box::new(counted::Digits(max)),
            FramingType::Octet => Box::new(counted::Octet::new(max)),
            FramingType::None => Box::new(lines::Whole(max)),
        };
        Ok(Self {
            unpack: Unpack::new(spec),
            cutting: Cutting { name: spec.kind.name(), cut, held: Vec::new(), at: 0, first: None },
            broken: None,
        })
    }

    /// Adds to `out` the messages that `bytes` complete. The caller keeps `out` below 4 GiB.
    ///
    /// # Errors
    /// The bytes are not what the spec says. Messages before the bad byte are in `out`; every later call fails alike.
    pub fn push(&mut self, bytes: &[u8], out: &mut Blobs) -> Result<(), Error> {
        self.sound()?;
        let Self { unpack, cutting, .. } = self;
        let pushed = unpack.push(bytes, &mut |plain| cutting.push(plain, out));
        self.settle(pushed)
    }

    /// Ends the stream: adds the message that its end completes, if there is one.
    ///
    /// # Errors
    /// The stream ends inside a frame or inside compressed data.
    pub fn finish(&mut self, out: &mut Blobs) -> Result<(), Error> {
        self.sound()?;
        let Self { unpack, cutting, .. } = self;
        let finished = unpack.finish(&mut |plain| cutting.push(plain, out));
        let finished = finished.and_then(|()| cutting.finish(out));
        self.settle(finished)
    }

    /// The first message of the stream, once there was one: it may name what is in all others. Empty if it is too long for
    /// that.
    #[must_use]
    pub fn first(&self) -> Option<&[u8]> {
        self.cutting.first.as_deref()
    }

    /// Bytes to push at once: a few that are packed may be many.
    #[must_use]
    pub(crate) fn at_once(&self) -> usize {
        if self.unpack.packs() { 4 << 10 } else { 64 << 10 }
    }

    /// Bytes held back because their frame is not complete.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cutting.held.len()
    }

    /// Position, in the unpacked stream, after the last complete message.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.cutting.at
    }

    fn sound(&self) -> Result<(), Error> {
        self.broken.as_ref().map_or(Ok(()), |(at, reason, part)| Err(self.error(*at, reason.clone(), *part)))
    }

    fn settle(&mut self, result: Result<(), Broken>) -> Result<(), Error> {
        result.map_err(|broken| {
            self.broken = Some((broken.at, broken.reason.clone(), broken.part));
            self.error(broken.at, broken.reason, broken.part)
        })
    }

    fn error(&self, at: u64, reason: String, part: Part) -> Error {
        match part {
            Part::Compression => Error::Compressed { compression: self.unpack.name(), at, reason },
            Part::Framing => Error::Frame { framing: self.cutting.name, at, reason },
        }
    }
}

/// What is at the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A frame whose payload is there (or nothing, for a blank line), and where the next one begins.
    Frame(Option<Range<usize>>, usize),
    /// Not yet a whole frame.
    More,
}

/// A way of telling where a frame ends. It is shown the bytes from the beginning of the frame on, each time a few more.
trait Cut: Send + std::fmt::Debug {
    /// The first frame of `bytes`.
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String>;

    /// The frame that `bytes`, the rest of the stream, are; never called with none.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, String>;
}

#[derive(Debug)]
struct Cutting {
    name: &'static str,
    cut: Box<dyn Cut>,
    held: Vec<u8>,
    at: u64,
    first: Option<Vec<u8>>,
}

/// A first message that is longer does not go with the others.
const FIRST: usize = 64 << 10;

impl Cutting {
    fn give(&mut self, message: &[u8], out: &mut Blobs) {
        self.first.get_or_insert_with(|| if message.len() > FIRST { Vec::new() } else { message.to_vec() });
        out.push(message);
    }

    fn push(&mut self, bytes: &[u8], out: &mut Blobs) -> Result<(), Broken> {
        if self.held.is_empty() {
            let used = self.run(bytes, out)?;
            self.held.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let used = self.run(&held, out)?;
        self.held = held;
        self.held.drain(..used);
        Ok(())
    }

    fn run(&mut self, bytes: &[u8], out: &mut Blobs) -> Result<usize, Broken> {
        let mut used = 0;
        while used < bytes.len() {
            match self.cut.step(&bytes[used..]) {
                Ok(Step::Frame(payload, next)) => {
                    if let Some(payload) = payload {
                        self.give(&bytes[used..][payload], out);
                    }
                    used += next;
                    self.at += next as u64;
                }
                Ok(Step::More) => break,
                Err(reason) => return Err(self.broken(reason)),
            }
        }
        Ok(used)
    }

    fn finish(&mut self, out: &mut Blobs) -> Result<(), Broken> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let payload = self.cut.end(&held).map_err(|reason| self.broken(reason))?;
        if let Some(payload) = payload {
            self.give(&held[payload], out);
        }
        self.at += held.len() as u64;
        Ok(())
    }

    fn broken(&self, reason: String) -> Broken {
        Broken { at: self.at, reason, part: Part::Framing }
    }
}

/// Says that a frame is larger than allowed.
fn too_large(bytes: u64, max: usize) -> String {
    format!(
        "a frame of at least {bytes} bytes exceeds `maxFrame`, which is {max} bytes; raise it, or set the framing that the sender uses"
    )
}

/// Says that the stream ended too early.
fn cut_short() -> String {
    "the stream ends inside the frame that begins here; part of it is missing".to_owned()
}
