//! What packed files had before they were packed, read forwards.
//!
//! **Invariant**: nothing is held but a window, and what could be unpacked before a damage is given before the damage is told.

use std::{
    cell::RefCell,
    fmt,
    io::{self, BufRead as _, Read},
    rc::Rc,
};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Packed bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// The members of a gzip file, one after the other; zeros behind one fill it up, and say nothing.
pub struct Gzip<R>(Option<GzDecoder<io::BufReader<R>>>);

impl<R: Read> Gzip<R> {
    /// The members of `packed`.
    #[must_use]
    pub fn new(packed: R) -> Self {
        Self(Some(GzDecoder::new(io::BufReader::with_capacity(BUFFER, packed))))
    }
}

impl<R> fmt::Debug for Gzip<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gzip")
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut source) = self.0.take().map(GzDecoder::into_inner) else { break };
            let more = loop {
                let there = source.fill_buf()?;
                let (zeros, all) = (there.iter().take_while(|&&byte| byte == 0).count(), there.len());
                source.consume(zeros);
                if all == 0 || zeros < all {
                    break all > 0;
                }
            };
            self.0 = more.then(|| GzDecoder::new(source));
        }
        Ok(0)
    }
}

/// A source that outlives the decoder of each frame.
struct Source<R>(Rc<RefCell<io::BufReader<R>>>);

impl<R> Clone for Source<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// The frames of a Zstandard file, one after the other.
pub struct Zstd<R: Read> {
    source: Source<R>,
    frame: Option<StreamingDecoder<Source<R>, FrameDecoder>>,
    /// The frame cannot be decoded any further; what is there of it is still given.
    damage: Option<String>,
}

impl<R: Read> Zstd<R> {
    /// The frames of `packed`.
    #[must_use]
    pub fn new(packed: R) -> Self {
        let source = io::BufReader::with_capacity(BUFFER, packed);
        Self { source: Source(Rc::new(RefCell::new(source))), frame: None, damage: None }
    }
}

impl<R: Read> fmt::Debug for Zstd<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zstd")
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = match &self.damage {
                    Some(_) => frame.decoder.read(buffer)?,
                    None => match frame.read(buffer) {
                        Ok(read) => read,
                        Err(error) => {
                            self.damage = Some(error.to_string());
                            // It gives nothing of its window before its end: an empty last block, and a checksum.
                            let end: &[u8] = &[1, 0, 0, 0, 0, 0, 0];
                            frame.decoder.decode_blocks(end, BlockDecodingStrategy::All).map_err(io::Error::other)?;
                            continue;
                        }
                    },
                };
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                if let Some(damage) = &self.damage {
                    return Err(io::Error::other(damage.clone()));
                }
                self.frame = None;
            }
            if self.source.0.borrow_mut().fill_buf()?.is_empty() {
                return Ok(0);
            }
            match StreamingDecoder::new(self.source.clone()) {
                Ok(frame) => self.frame = Some(frame),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn all(mut from: impl Read) -> (Vec<u8>, bool) {
        let mut text = Vec::new();
        let whole = from.read_to_end(&mut text).is_ok();
        (text, whole)
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let long = b"a line\n".repeat(50_000);
        let packed = [gzip(b"one\n"), vec![0; 100], gzip(&long), gzip(b"")].concat();
        let expected = [b"one\n".as_slice(), &long].concat();
        assert_eq!(all(Gzip::new(&packed[..])), (expected.clone(), true));
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frame = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        let packed = [frame(b"one\n"), skipped.to_vec(), frame(&long)].concat();
        assert_eq!(all(Zstd::new(&packed[..])), (expected, true));
    }

    #[test]
    fn what_is_cut_or_damaged_is_told_after_what_came_before() {
        let packed = gzip(&b"a line\n".repeat(50_000));
        assert!(!all(Gzip::new(&packed[..packed.len() / 2])).1);
        assert!(!all(Gzip::new(&b"no gzip"[..])).1);
        let packed = zstd::encode_all(&b"a line\n".repeat(50_000)[..], 1).unwrap();
        assert!(!all(Zstd::new(&packed[..packed.len() - 3])).1);
        let (text, whole) = all(Zstd::new(&[&packed[..], b"no frame"].concat()[..]));
        assert_eq!((text.len(), whole), (350_000, false));
    }
}
