//! A file of text while it is being written, compressed or not; after each sync what it holds survives a crash.

use std::{
    fs::File as StdFile,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    path::Path,
};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::FileCompression;

/// A file of text being written.
pub(super) struct Part {
    file: File,
    compression: FileCompression,
    /// Compresses what comes until the next sync; a frame of its own, so that a crash takes no more than what follows.
    frame: Frame,
    /// In the file.
    written: u64,
}

enum Frame {
    None,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("file", &self.file).field("written", &self.written).finish_non_exhaustive()
    }
}

/// Compressed bytes that are kept in memory before they are written.
const BUFFER: usize = 256 << 10;

impl Part {
    /// A new file, and the directories above it.
    pub(super) async fn create(path: &Path, compression: FileCompression) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await?;
        }
        let file = File::options().create(true).write(true).truncate(true).open(path).await?;
        Ok(Self { file, compression, frame: Frame::None, written: 0 })
    }

    /// The file that is there already; `None` if there is nothing in it. What a crash left half written goes, but not from
    /// a file of lines that is not `ours` alone.
    pub(super) async fn reopen(path: &Path, compression: FileCompression, ours: bool) -> io::Result<Option<Self>> {
        let owned = path.to_owned();
        let sound = tokio::task::spawn_blocking(move || sound(&owned, compression)).await.map_err(io::Error::other)?;
        let written = match sound {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let file = File::options().append(true).open(path).await?;
        let length = file.metadata().await?.len();
        let mut part = Self { compression, frame: Frame::None, written, file };
        if length > written && (ours || compression != FileCompression::None) {
            part.file.set_len(written).await?;
        } else if length > written {
            part.written = length;
            part.put(b"\n").await?;
        }
        Ok((part.written > 0).then_some(part))
    }

    /// Whether nothing was ever written.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Bytes of the file, with those that wait.
    pub(super) fn bytes(&self) -> u64 {
        let waiting = match &self.frame {
            Frame::None => 0,
            Frame::Gzip(frame) => frame.get_ref().len(),
            Frame::Zstd(frame) => frame.get_ref().len(),
        };
        // A frame that was begun counts before its first byte is there.
        self.written + waiting as u64 + u64::from(!matches!(self.frame, Frame::None))
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Frame::None = self.frame {
            self.frame = match self.compression {
                FileCompression::None => return self.put(bytes).await,
                FileCompression::Gzip => Frame::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
                FileCompression::Zstd => Frame::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3)?),
            };
        }
        let waiting = match &mut self.frame {
            Frame::None => return Ok(()),
            Frame::Gzip(frame) => {
                frame.write_all(bytes)?;
                frame.get_mut()
            }
            Frame::Zstd(frame) => {
                frame.write_all(bytes)?;
                frame.get_mut()
            }
        };
        if waiting.len() < BUFFER {
            return Ok(());
        }
        let waiting = std::mem::take(waiting);
        self.put(&waiting).await
    }

    /// What was written so far is on disk, and can be read.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        let rest = match std::mem::replace(&mut self.frame, Frame::None) {
            Frame::None => Vec::new(),
            Frame::Gzip(frame) => frame.finish()?,
            Frame::Zstd(frame) => frame.finish()?,
        };
        self.put(&rest).await?;
        self.file.flush().await?;
        self.file.sync_data().await
    }

    /// Nothing more will be written.
    pub(super) async fn end(mut self) -> io::Result<()> {
        self.sync().await
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// How many bytes of the file can be relied on: whole lines, or whole frames.
fn sound(path: &Path, compression: FileCompression) -> io::Result<u64> {
    let mut file = BufReader::with_capacity(64 << 10, StdFile::open(path)?);
    match compression {
        FileCompression::None => last_line(file.get_mut()),
        FileCompression::Gzip | FileCompression::Zstd => {
            let mut sound = 0;
            while !file.fill_buf()?.is_empty() {
                let whole = match compression {
                    FileCompression::Gzip => drain(&mut GzDecoder::new(&mut file)),
                    _ => drain(&mut zstd::stream::read::Decoder::with_buffer(&mut file)?.single_frame()),
                };
                if whole.is_err() {
                    break;
                }
                sound = file.stream_position()?;
            }
            Ok(sound)
        }
    }
}

/// Where the last whole line ends, found from the end.
fn last_line(file: &mut StdFile) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BUFFER];
    while end > 0 {
        let size = usize::try_from(end).unwrap_or(BUFFER).min(BUFFER);
        let start = end - size as u64;
        let block = block.get_mut(..size).unwrap_or_default();
        file.seek(io::SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn drain(from: &mut impl io::Read) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    while from.read(&mut buffer)? > 0 {}
    Ok(())
}
