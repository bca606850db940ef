//! One block of 512 bytes that says what follows it.

use super::{error::Fault, sparse::Piece};

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

/// No entry can be larger, so that offsets can be added without a care.
pub(super) const LARGEST: u64 = 1 << 60;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// With the prefix that the ustar format splits off.
    pub(super) name: Vec<u8>,
    /// Bytes that follow.
    pub(super) size: u64,
    pub(super) kind: Kind,
}

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A file of GNU's old sparse format: the map begins in the header.
    OldSparse,
    /// PAX records for the next entry.
    Extended,
    /// PAX records for all entries that follow.
    Global,
    /// GNU's long name of the next entry.
    LongName,
    /// GNU's long target of the next link.
    LongLink,
    /// Nothing that anybody wants: a volume's label, a directory's listing.
    Idle,
    /// What a repo has no place for, by name.
    Refused(&'static str),
    /// A letter that nobody has given a meaning to.
    Unknown(u8),
}

impl Kind {
    fn new(letter: u8) -> Self {
        match letter {
            b'0' | 0 | b'7' => Self::File,
            b'1' => Self::Refused("a hard link; archive the file itself instead (`tar --hard-dereference`)"),
            b'2' => Self::Refused("a symbolic link; archive what it points to instead (`tar --dereference`)"),
            b'3' | b'4' => Self::Refused("a device"),
            b'5' => Self::Directory,
            b'6' => Self::Refused("a FIFO"),
            b'M' => Self::Refused("the rest of a file that another volume begins"),
            b'N' => Self::Refused("a list of names in an old format of GNU tar"),
            b'S' => Self::OldSparse,
            b'x' | b'X' => Self::Extended,
            b'g' => Self::Global,
            b'L' => Self::LongName,
            b'K' => Self::LongLink,
            b'D' | b'V' => Self::Idle,
            other => Self::Unknown(other),
        }
    }
}

impl Header {
    pub(super) fn parse(block: &Block) -> Result<Self, Fault> {
        check(block)?;
        let mut name = text(&block[..100]).to_vec();
        let prefix = text(&block[345..500]);
        // GNU's magic is `ustar` and two spaces, and it has other fields where POSIX has the prefix.
        if block.get(257..263) == Some(b"ustar\0") && !prefix.is_empty() {
            name = [prefix, b"/", name.as_slice()].concat();
        }
        let size = number(&block[124..136]).map_err(|what| Fault::broken(format!("the size {what}")))?;
        if size > LARGEST {
            return Err(Fault::broken(format!("the header says {size} bytes, more than any file has")));
        }
        Ok(Self { name, size, kind: Kind::new(block[156]) })
    }
}

/// The sum of all bytes, those of the sum itself taken as spaces. Some old programs added signed bytes.
fn check(block: &Block) -> Result<(), Fault> {
    let bytes = || block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    match number(&block[148..156]).map(u64::cast_signed) {
        Ok(stored) if stored == unsigned || stored == signed => Ok(()),
        _ => Err(Fault::broken("this is no tar header: its checksum is wrong")),
    }
}

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or GNU's big-endian one where the highest bit is set.
fn number(field: &[u8]) -> Result<u64, String> {
    let Some((&first, rest)) = field.split_first() else { return Ok(0) };
    if first & 0x80 != 0 {
        if first & 0x40 != 0 {
            return Err("is negative".into());
        }
        let grow = |value: u64, &byte: &u8| (value < 1 << 56).then(|| value << 8 | u64::from(byte));
        return rest.iter().try_fold(u64::from(first & 0x3f), grow).ok_or_else(|| "has more than 64 bits".into());
    }
    let digits = text(field).trim_ascii();
    let grow = |value: u64, &digit: &u8| match digit {
        b'0'..=b'7' if value < 1 << 60 => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    };
    digits.iter().try_fold(0, grow).ok_or_else(|| "is no octal number".into())
}

/// The map of GNU's old sparse format, as far as the header has it: its pieces, the size of the file, and whether more of the
/// map follows.
pub(super) fn old_sparse(block: &Block) -> Result<(Vec<Piece>, u64, bool), Fault> {
    let real = number(&block[483..495]).map_err(|what| Fault::broken(format!("the size of the sparse file {what}")))?;
    Ok((pieces(&block[386..482])?, real, block[482] != 0))
}

/// More of that map, and whether still more follows.
pub(super) fn more_sparse(block: &Block) -> Result<(Vec<Piece>, bool), Fault> {
    Ok((pieces(&block[..504])?, block[504] != 0))
}

fn pieces(fields: &[u8]) -> Result<Vec<Piece>, Fault> {
    let read = |field: &[u8]| number(field).map_err(|what| Fault::broken(format!("a number of the sparse map {what}")));
    let used = fields.chunks_exact(24).take_while(|piece| piece[0] != 0);
    used.map(|piece| Ok(Piece { offset: read(&piece[..12])?, length: read(&piece[12..])? })).collect()
}
