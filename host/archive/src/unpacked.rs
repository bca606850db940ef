//! The plain bytes of a stream that may be packed with gzip, no more of them than may be.

use std::{
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use flate2::write::MultiGzDecoder;
use tokio::io::{AsyncBufRead as _, AsyncRead, BufReader, ReadBuf};

/// What gzip begins with, and no tar archive: the name of its first file would begin so.
const GZIP: u8 = 0x1f;
/// Packed bytes that are unpacked at once: they become at most 1032 times as many.
const PIECE: usize = 1 << 10;

/// Reads what `R` holds, unpacked where it is packed.
#[derive(Debug)]
pub struct Unpacked<R> {
    from: BufReader<R>,
    state: State,
    /// Unpacked, and from where on it is not yet given away.
    plain: Vec<u8>,
    given: usize,
    left: u64,
    most: u64,
}

#[derive(Debug)]
enum State {
    Unsure,
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Over,
}

impl<R: AsyncRead + Unpin> Unpacked<R> {
    /// The plain bytes of `from`, at most `most` of them: a stream that unpacks to more ends with an error.
    pub fn new(from: R, most: u64) -> Self {
        let from = BufReader::with_capacity(64 << 10, from);
        Self { from, state: State::Unsure, plain: Vec::new(), given: 0, left: most, most }
    }

    /// Fills `plain` with the next bytes, or says that there are none by leaving it empty.
    fn poll_unpack(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.given == self.plain.len() {
            self.plain.clear();
            self.given = 0;
            let State::Gzip(decoder) = &mut self.state else { return Poll::Ready(Ok(())) };
            let there = ready!(Pin::new(&mut self.from).poll_fill_buf(cx))?;
            let taken = there.len().min(PIECE);
            if taken == 0 {
                decoder.try_finish().map_err(|_| io::Error::other("its gzip stream is cut off or damaged"))?;
            } else {
                let written = decoder.write_all(&there[..taken]).and_then(|()| decoder.flush());
                written.map_err(|error| io::Error::other(format!("its gzip stream is damaged: {error}")))?;
            }
            std::mem::swap(&mut self.plain, decoder.get_mut());
            Pin::new(&mut self.from).consume(taken);
            if taken == 0 {
                self.state = State::Over;
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Counts bytes that are given away.
    fn give(&mut self, count: usize) -> io::Result<()> {
        let many = || io::Error::other(format!("it has more than the {} bytes that it may have unpacked", self.most));
        self.left = self.left.checked_sub(count as u64).ok_or_else(many)?;
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Unpacked<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.state, State::Unsure) {
            let first = ready!(Pin::new(&mut this.from).poll_fill_buf(cx))?.first().copied();
            this.state =
                if first == Some(GZIP) { State::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))) } else { State::Plain };
        }
        if matches!(this.state, State::Plain) {
            let there = ready!(Pin::new(&mut this.from).poll_fill_buf(cx))?;
            let count = there.len().min(into.remaining());
            into.put_slice(&there[..count]);
            Pin::new(&mut this.from).consume(count);
            return Poll::Ready(this.give(count));
        }
        ready!(this.poll_unpack(cx))?;
        let rest = &this.plain[this.given..];
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        this.given += count;
        Poll::Ready(this.give(count))
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn unpacked(bytes: &[u8], most: u64) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        let read = Unpacked::new(bytes, most).read_to_end(&mut plain).await;
        read.map(|_| plain).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn gzip_is_unpacked_and_all_else_is_left_alone() {
        let large: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 9).to_le_bytes()).collect();
        let two = [packed(b"one"), packed(&large)].concat();
        for (bytes, plain) in [
            (b"".to_vec(), b"".to_vec()),
            (b"\x1e plain".to_vec(), b"\x1e plain".to_vec()),
            (packed(b""), b"".to_vec()),
            (packed(&large), large.clone()),
            (two, [b"one", large.as_slice()].concat()),
        ] {
            assert_eq!(unpacked(&bytes, u64::MAX).await.unwrap(), plain);
        }
    }

    #[tokio::test]
    async fn what_is_cut_damaged_or_grows_too_far_is_an_error() {
        let whole = packed(&[7; 100_000]);
        for cut in [1, 5, 20, whole.len() - 4] {
            assert!(unpacked(&whole[..cut], u64::MAX).await.is_err(), "{cut}");
        }
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(unpacked(&other, u64::MAX).await.is_err());
        assert!(unpacked(&whole, 99_999).await.unwrap_err().contains("more than the 99999 bytes"));
        assert!(unpacked(&whole, 100_000).await.is_ok() && unpacked(b"plain", 4).await.is_err());
    }
}
