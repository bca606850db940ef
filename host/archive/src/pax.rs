//! PAX records: what they say of an entry in place of its header.

use super::{
    error::Fault,
    header::LARGEST,
    sparse::{MOST_PIECES, Piece, many_pieces},
};

/// What extended headers say of the next entry.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) sparse: SparseKeys,
}

/// GNU's records of a sparse file, in each of its three formats.
#[derive(Debug, Default)]
pub(super) struct SparseKeys {
    /// The format's number, where it has one: `(1, 0)` keeps its map in front of the content.
    pub(super) version: (u64, u64),
    /// The file's own size.
    pub(super) real: Option<u64>,
    /// The file's own name.
    pub(super) name: Option<Vec<u8>>,
    pub(super) pieces: Vec<Piece>,
    offset: Option<u64>,
}

impl Extended {
    /// Takes the records of one header. Later ones win.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let (record, rest) = record(bytes)?;
            self.take(record.key, record.value)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Whether it says anything that would be wrong to hold for more than one entry.
    pub(super) fn names_one(&self) -> bool {
        self.path.is_some() || self.size.is_some() || self.sparse.real.is_some() || !self.sparse.pieces.is_empty()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let filled = || (!value.is_empty()).then_some(value);
        let sparse = &mut self.sparse;
        match key {
            b"path" => self.path = filled().map(<[u8]>::to_vec),
            b"size" => self.size = filled().map(|value| number(key, value)).transpose()?,
            b"GNU.sparse.major" => sparse.version.0 = number(key, value)?,
            b"GNU.sparse.minor" => sparse.version.1 = number(key, value)?,
            b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.real = Some(number(key, value)?),
            b"GNU.sparse.offset" => sparse.offset = Some(number(key, value)?),
            b"GNU.sparse.numbytes" => {
                let broken = || Fault::broken("GNU.sparse.numbytes without GNU.sparse.offset");
                sparse.push(sparse.offset.ok_or_else(broken)?, number(key, value)?)?;
            }
            b"GNU.sparse.map" => {
                sparse.pieces.clear();
                let numbers = value.split(|&byte| byte == b',').map(|part| number(key, part));
                let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
                if numbers.len() % 2 != 0 {
                    return Err(Fault::broken("GNU.sparse.map has an odd number of numbers"));
                }
                numbers.chunks_exact(2).try_for_each(|pair| sparse.push(pair[0], pair[1]))?;
            }
            // Owners, times, attributes: a repo has none of them.
            _ => {}
        }
        Ok(())
    }
}

impl SparseKeys {
    fn push(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        if self.pieces.len() >= MOST_PIECES {
            return Err(many_pieces());
        }
        self.pieces.push(Piece { offset, length });
        Ok(())
    }
}

struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

/// The first record, `LENGTH KEY=VALUE\n`, and what follows it.
fn record(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), Fault> {
    let broken = || Fault::broken("a PAX record that does not read `LENGTH KEY=VALUE` and ends with a line feed");
    let space = bytes.iter().take(20).position(|&byte| byte == b' ').ok_or_else(broken)?;
    let length = usize::try_from(decimal(&bytes[..space]).ok_or_else(broken)?).map_err(|_| broken())?;
    let record = bytes.get(space + 1..length).ok_or_else(broken)?.strip_suffix(b"\n").ok_or_else(broken)?;
    let equals = record.iter().position(|&byte| byte == b'=').filter(|&at| at > 0).ok_or_else(broken)?;
    Ok((Record { key: &record[..equals], value: &record[equals + 1..] }, &bytes[length..]))
}

fn number(key: &[u8], value: &[u8]) -> Result<u64, Fault> {
    decimal(value).filter(|&number| number <= LARGEST).ok_or_else(|| {
        let key = String::from_utf8_lossy(key);
        Fault::broken(format!("the PAX record {key} is no size that a file can have"))
    })
}

/// A number in decimal digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}
