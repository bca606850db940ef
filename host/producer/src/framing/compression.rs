//! Unpacks a stream piece by piece, within a bound on how far it may grow.

use std::{
    fmt,
    io::{self, Write},
};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::{Broken, Compression, FramingSpec, Part};

/// Compressed bytes taken at once: deflate makes at most 1032 times as many of them.
const PIECE: usize = 1 << 10;
/// Window of a zstd frame that is accepted, in bits: what `zstd -19` writes, and twice that.
const WINDOW: u32 = 25;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The first half of a framer.
pub(super) struct Unpack {
    state: State,
    growth: Growth,
}

enum State {
    Plain,
    /// The first bytes, as long as they do not tell what the stream is.
    Unsure(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd(Box<Zstd>),
}

struct Zstd {
    /// Opened by the first bytes: that can fail.
    decoder: Option<Decoder<'static>>,
    block: Vec<u8>,
    /// Whether the bytes so far end with a frame.
    ended: bool,
}

#[derive(Debug)]
struct Growth {
    packed: u64,
    plain: u64,
    most: u64,
    slack: u64,
}

/// Where unpacked bytes go.
type Plain<'a> = dyn FnMut(&[u8]) -> Result<(), Broken> + 'a;

impl Unpack {
    pub(super) fn new(spec: &FramingSpec) -> Self {
        let state = match spec.compression {
            Compression::None => State::Plain,
            Compression::Gzip => State::gzip(),
            Compression::Zstd => State::zstd(),
            Compression::Auto => State::Unsure(Vec::new()),
        };
        // The slack lets a short stream grow by one frame, however well it is compressed.
        let growth = Growth { packed: 0, plain: 0, most: spec.max_growth.into(), slack: spec.max_frame.0 };
        Self { state, growth }
    }

    /// Whether what comes may be packed.
    pub(super) fn packs(&self) -> bool {
        !matches!(self.state, State::Plain)
    }

    pub(super) fn name(&self) -> &'static str {
        match self.state {
            State::Plain => "none",
            State::Unsure(_) => "auto",
            State::Gzip(_) => "gzip",
            State::Zstd(_) => "zstd",
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], plain: &mut Plain<'_>) -> Result<(), Broken> {
        match &mut self.state {
            State::Plain => plain(bytes),
            State::Unsure(first) => {
                first.extend_from_slice(bytes);
                let Some(state) = State::detect(first) else { return Ok(()) };
                let first = std::mem::take(first);
                self.state = state;
                self.push(&first, plain)
            }
            State::Gzip(decoder) => bytes.chunks(PIECE).try_for_each(|piece| {
                let written = decoder.write_all(piece).and_then(|()| decoder.flush());
                let written = written.map_err(|error| self.growth.broken(&error));
                self.growth.packed += piece.len() as u64;
                // What was unpacked before the bad byte came before it.
                self.growth.give(decoder.get_mut(), plain)?;
                written
            }),
            State::Zstd(zstd) => zstd.push(bytes, &mut self.growth, plain),
        }
    }

    pub(super) fn finish(&mut self, plain: &mut Plain<'_>) -> Result<(), Broken> {
        if let State::Unsure(first) = &mut self.state {
            let first = std::mem::take(first);
            self.state = State::Plain;
            return plain(&first);
        }
        if self.growth.packed == 0 {
            return Ok(());
        }
        match &mut self.state {
            State::Plain | State::Unsure(_) => Ok(()),
            State::Gzip(decoder) => {
                decoder.try_finish().map_err(|error| self.growth.broken(&error))?;
                self.growth.give(decoder.get_mut(), plain)
            }
            State::Zstd(zstd) if zstd.ended => Ok(()),
            State::Zstd(_) => Err(self.growth.broken(&io::Error::other("the stream ends inside compressed data"))),
        }
    }
}

impl Zstd {
    fn push(&mut self, mut bytes: &[u8], growth: &mut Growth, plain: &mut Plain<'_>) -> Result<(), Broken> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(zstd_decoder().map_err(|error| growth.broken(&error))?),
        };
        loop {
            let status = decoder.run_on_buffers(bytes, &mut self.block).map_err(|error| growth.broken(&error))?;
            growth.packed += status.bytes_read as u64;
            bytes = &bytes[status.bytes_read..];
            if status.bytes_read > 0 || status.bytes_written > 0 {
                self.ended = status.remaining == 0;
            }
            growth.more(status.bytes_written)?;
            plain(&self.block[..status.bytes_written])?;
            // A block that was not filled means that nothing is held back for want of room.
            if bytes.is_empty() && status.bytes_written < self.block.len() {
                return Ok(());
            }
        }
    }
}

impl State {
    fn gzip() -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
    }

    fn zstd() -> Self {
        Self::Zstd(Box::new(Zstd { decoder: None, block: vec![0; 128 << 10], ended: true }))
    }

    /// What a stream that begins with `first` is, once that is certain.
    fn detect(first: &[u8]) -> Option<Self> {
        match first {
            _ if first.starts_with(&GZIP) => Some(Self::gzip()),
            _ if first.starts_with(&ZSTD) => Some(Self::zstd()),
            _ if GZIP.starts_with(first) || ZSTD.starts_with(first) => None,
            _ => Some(Self::Plain),
        }
    }
}

fn zstd_decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW))?;
    Ok(decoder)
}

impl Growth {
    fn give(&mut self, unpacked: &mut Vec<u8>, plain: &mut Plain<'_>) -> Result<(), Broken> {
        self.more(unpacked.len())?;
        let given = plain(unpacked);
        unpacked.clear();
        given
    }

    fn more(&mut self, bytes: usize) -> Result<(), Broken> {
        self.plain += bytes as u64;
        let most = self.most.saturating_mul(self.packed).saturating_add(self.slack);
        if self.plain <= most {
            Ok(())
        } else {
            Err(self.broken(&io::Error::other(format!(
                "{} compressed bytes expand to more than {most}; if you trust the sender, raise `maxGrowth`",
                self.packed
            ))))
        }
    }

    fn broken(&self, error: &io::Error) -> Broken {
        Broken { at: self.packed, reason: error.to_string(), part: Part::Compression }
    }
}

impl fmt::Debug for Unpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpack").field("compression", &self.name()).field("growth", &self.growth).finish()
    }
}
