//! A stream of archives, step by step: an entry, the end of an archive, the end of the stream.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use super::{
    content::Content,
    error::{self, ArchiveError, Fault},
    header::{self, BLOCK, Block, Header, Kind},
    pax::{self, Extended},
    sparse::{Holes, MOST_PIECES, Piece, many_pieces},
};

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// The largest extended header, long name or map that is taken into memory.
const LARGEST_EXTENSION: u64 = 1 << 20;

/// Extended headers that one entry may have.
const MOST_EXTENSIONS: u32 = 16;

/// Entries that one archive may have.
const MOST_ENTRIES: u32 = 100_000;

/// Reads archives from `R`.
#[derive(Debug)]
pub struct Archives<R> {
    pub(super) from: BufReader<R>,
    origin: String,
    /// Bytes taken so far.
    pub(super) at: u64,
    archive: u64,
    /// Within an archive: something but zeros was read of it.
    begun: bool,
    entries: u32,
    entry: Option<String>,
    /// Stored bytes of the entry that are to come, and those that fill its last block.
    pub(super) left: u64,
    padding: u64,
    pub(super) holes: Option<Holes>,
    /// Its content ended before it should.
    pub(super) cut: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A file. Its [content](Archives::content) follows; what is not read of it is skipped.
    Entry(Entry),
    /// The archive is complete.
    End,
    /// The stream is over, after its last archive.
    Over,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the archive has it, without a leading `./`.
    pub path: String,
    /// Bytes of its content.
    pub size: u64,
}

/// What extension headers said of the entry that follows them.
#[derive(Debug, Default)]
struct Said {
    extended: Extended,
    long_name: Option<Vec<u8>>,
    headers: u32,
}

impl<R: AsyncRead + Unpin + Send> Archives<R> {
    /// Reads `from`, which errors call `origin`.
    pub fn new(from: R, origin: impl Into<String>) -> Self {
        Self {
            from: BufReader::with_capacity(BUFFER, from),
            origin: origin.into(),
            at: 0,
            archive: 1,
            begun: false,
            entries: 0,
            entry: None,
            left: 0,
            padding: 0,
            holes: None,
            cut: false,
        }
    }

    /// Goes to the next entry, or to the end of the archive.
    ///
    /// # Errors
    /// What makes the stream no sequence of archives. Nothing can be read after it.
    pub async fn next(&mut self) -> Result<Step, ArchiveError> {
        match self.step().await {
            Ok(step) => Ok(step),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// The content of the entry.
    pub fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// That the stream was cut off while the content was read.
    pub fn broken(&self) -> Option<ArchiveError> {
        self.cut.then(|| self.error(Fault::Cut))
    }

    /// Which archive is being read, and which entry of it: where an error of what is done with it was met.
    pub fn place(&self) -> String {
        error::place(&self.origin, self.archive, self.entry.as_deref())
    }

    /// The archive that has just ended.
    pub fn place_of_ended(&self) -> String {
        error::place(&self.origin, self.archive.saturating_sub(1), None)
    }

    /// The refusal of the entry that is being read, for what only the caller knows to be wrong with it.
    pub fn refused(&self, why: impl Into<String>) -> ArchiveError {
        self.error(Fault::refused(why))
    }

    /// `fault`, with where it was met.
    fn error(&self, fault: Fault) -> ArchiveError {
        let (origin, archive, at) = (self.origin.clone(), self.archive, self.at);
        ArchiveError { origin, archive, at, entry: self.entry.clone(), fault }
    }

    async fn step(&mut self) -> Result<Step, Fault> {
        self.skip(self.left + self.padding).await?;
        (self.left, self.padding, self.holes, self.entry) = (0, 0, None, None);
        let mut said = Said::default();
        loop {
            let Some(block) = self.block().await? else { return Ok(Step::Over) };
            if block == [0; BLOCK] {
                if !self.begun {
                    // Zeros between archives may never end, and may always be there at once.
                    tokio::task::consume_budget().await;
                    continue;
                }
                self.end(&said).await?;
                return Ok(Step::End);
            }
            self.begun = true;
            let header = Header::parse(&block)?;
            match header.kind {
                Kind::Extended | Kind::Global | Kind::LongName | Kind::LongLink => {
                    self.extend(&mut said, &header).await?
                }
                Kind::Idle => self.skip(header.size + padding(header.size)).await?,
                _ => match self.entry(header, std::mem::take(&mut said), &block).await? {
                    Some(entry) => return Ok(Step::Entry(entry)),
                    None => self.entry = None,
                },
            }
        }
    }

    /// After the first of the two zero blocks.
    async fn end(&mut self, said: &Said) -> Result<(), Fault> {
        if said.headers > 0 {
            return Err(Fault::broken("the archive ends after an extended header, without its entry"));
        }
        if self.block().await? != Some([0; BLOCK]) {
            return Err(Fault::broken("one zero block, where an archive ends with two"));
        }
        self.archive += 1;
        (self.begun, self.entries) = (false, 0);
        Ok(())
    }

    /// Takes in what the next entry's header has no room for.
    async fn extend(&mut self, said: &mut Said, header: &Header) -> Result<(), Fault> {
        said.headers += 1;
        if said.headers > MOST_EXTENSIONS {
            return Err(Fault::refused(format!("more than {MOST_EXTENSIONS} extended headers before an entry")));
        }
        if header.size > LARGEST_EXTENSION {
            let (size, most) = (header.size, LARGEST_EXTENSION);
            return Err(Fault::refused(format!(
                "an extended header of {size} bytes, more than the {most} it may have"
            )));
        }
        let bytes = self.bytes(header.size).await?;
        self.skip(padding(header.size)).await?;
        match header.kind {
            Kind::Extended => said.extended.add(&bytes),
            Kind::Global => {
                let mut global = Extended::default();
                global.add(&bytes)?;
                // What is said of all entries is never an entry's path or size, or they would all be the same file.
                if global.names_one() { Err(Fault::refused("a path or a size for all entries")) } else { Ok(()) }
            }
            Kind::LongName => {
                said.long_name = Some(header::text(&bytes).to_vec());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The entry that `header` begins, if it is a file.
    async fn entry(&mut self, header: Header, said: Said, block: &Block) -> Result<Option<Entry>, Fault> {
        let Said { extended: Extended { path, size, sparse }, long_name, .. } = said;
        if let (Some(path), Some(long)) = (&path, &long_name)
            && path != long
        {
            return Err(Fault::refused("an entry to which its PAX header and its long name give two names"));
        }
        let name = sparse.name.or(path).or(long_name).unwrap_or(header.name);
        self.left = size.unwrap_or(header.size);
        self.padding = padding(self.left);
        // In the oldest format a directory is a file whose name ends with a slash.
        let slash = name.ends_with(b"/");
        let directory = header.kind == Kind::Directory || header.kind == Kind::File && slash && self.left == 0;
        let name = named(name)?;
        self.entry = Some(name.clone());
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(Fault::refused(format!("more than {MOST_ENTRIES} entries in one archive")));
        }
        match header.kind {
            _ if directory => {
                // Its size is a hint to file systems: nothing of it is in the archive.
                (self.left, self.padding) = (0, 0);
                return Ok(None);
            }
            Kind::File | Kind::OldSparse if slash || name.is_empty() => {
                return Err(Fault::refused("a file without a name, or with one that ends with a slash"));
            }
            Kind::File | Kind::OldSparse => {}
            Kind::Refused(what) => return Err(Fault::refused(format!("it is {what}"))),
            Kind::Unknown(letter) => {
                return Err(Fault::refused(format!("it is of the unknown type {:?}", char::from(letter))));
            }
            _ => return Ok(None),
        }
        let (pieces, real) = match header.kind {
            Kind::OldSparse => self.old_map(block).await?,
            _ => match sparse.real {
                Some(real) if sparse.version == (1, 0) => (self.stored_map().await?, real),
                Some(real) => (sparse.pieces, real),
                None if sparse.pieces.is_empty() => return Ok(Some(Entry { path: name, size: self.left })),
                None => return Err(Fault::broken("a sparse file without its size")),
            },
        };
        self.holes = Some(Holes::new(pieces, real, self.left)?);
        Ok(Some(Entry { path: name, size: real }))
    }

    /// The map of GNU's old format: in the header, and in blocks between it and the content.
    async fn old_map(&mut self, block: &Block) -> Result<(Vec<Piece>, u64), Fault> {
        let (mut pieces, real, mut more) = header::old_sparse(block)?;
        while more {
            let block = self.block().await?.ok_or(Fault::Cut)?;
            let (rest, goes_on) = header::more_sparse(&block)?;
            pieces.extend(rest);
            more = goes_on;
            if pieces.len() > MOST_PIECES {
                return Err(many_pieces());
            }
        }
        Ok((pieces, real))
    }

    /// The map of PAX format 1.0: decimal numbers, a line each, in the first blocks of the content.
    async fn stored_map(&mut self) -> Result<Vec<Piece>, Fault> {
        let broken = || Fault::broken("a sparse file whose map is not one number a line");
        let (mut numbers, mut digits) = (Vec::new(), Vec::new());
        // The first number says how many pairs follow.
        let mut wanted = 1;
        while numbers.len() < wanted {
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(broken)?;
            for byte in self.block().await?.ok_or(Fault::Cut)? {
                if numbers.len() == wanted {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let number = pax::decimal(&std::mem::take(&mut digits)).ok_or_else(broken)?;
                if numbers.is_empty() {
                    let pieces = usize::try_from(number).ok().filter(|&pieces| pieces <= MOST_PIECES);
                    wanted += 2 * pieces.ok_or_else(many_pieces)?;
                }
                numbers.push(number);
            }
            if digits.len() > BLOCK {
                return Err(broken());
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|pair| Piece { offset: pair[0], length: pair[1] }).collect())
    }

    /// The next block; none if the stream ends where one may begin an archive.
    async fn block(&mut self) -> Result<Option<Block>, Fault> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..]).await.map_err(unread)? {
                0 if filled == 0 && !self.begun => return Ok(None),
                0 => return Err(Fault::Cut),
                count => {
                    filled += count;
                    self.at += count as u64;
                }
            }
        }
        Ok(Some(block))
    }

    /// So many bytes, which were compared with a limit before.
    async fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let taken = (&mut self.from).take(count).read_to_end(&mut bytes).await.map_err(unread)? as u64;
        self.at += taken;
        if taken == count { Ok(bytes) } else { Err(Fault::Cut) }
    }

    async fn skip(&mut self, mut count: u64) -> Result<(), Fault> {
        while count > 0 {
            let there = self.from.fill_buf().await.map_err(unread)?.len();
            if there == 0 {
                return Err(Fault::Cut);
            }
            let taken = there.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.from.consume(taken);
            self.at += taken as u64;
            count -= taken as u64;
        }
        Ok(())
    }
}

/// What fills the last block of so many bytes.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// The name of an entry, without a leading `./` and the slash that marks a directory. What else a path may be, the repo says.
fn named(name: Vec<u8>) -> Result<String, Fault> {
    let name = String::from_utf8(name).map_err(|error| {
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Fault::refused(format!("an entry whose name is not UTF-8: {}", spout_base::terminal::plain(&shown)))
    })?;
    if name.contains('\0') {
        return Err(Fault::refused("an entry whose name has a NUL byte"));
    }
    let mut rest = name.as_str();
    while let Some(inner) = rest.strip_prefix("./") {
        rest = inner.trim_start_matches('/');
    }
    Ok(rest.trim_end_matches('/').to_owned())
}

fn unread(error: io::Error) -> Fault {
    Fault::Unread(error)
}
