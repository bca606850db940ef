//! Pages of Parquet files, measured before a reader makes room for what they claim: a header of a few bytes may say two gigabytes.
//!
//! What is read here is the header of each page, in Thrift's compact protocol, as far as its sizes; the library reads it again.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};

/// A page of so many bytes is harmless, whatever it was packed into.
const SMALL: u64 = 1 << 20;
/// What a byte of Snappy can become: a copy of 64 bytes takes three.
const SNAPPY: u64 = 22;
/// What a page of another codec may become.
const OTHERS: u64 = 512 << 20;
/// Fields within each other.
const DEPTH: u32 = 8;

/// Looks at every page of `file`, which may have `most` bytes each.
///
/// # Errors
/// What is wrong with it.
pub fn measured_pages(file: &mut (impl Read + Seek), metadata: &ParquetMetaData, most: u64) -> Result<(), String> {
    measured_columns(file, metadata.row_groups().iter().flat_map(RowGroupMetaData::columns), most)
}

/// As [`measured_pages`], for the pages of `columns`.
///
/// # Errors
/// What is wrong with one of them.
pub fn measured_columns<'a>(
    file: &mut (impl Read + Seek),
    columns: impl Iterator<Item = &'a ColumnChunkMetaData>,
    most: u64,
) -> Result<(), String> {
    let mut file = BufReader::with_capacity(1 << 12, file);
    for column in columns {
        let begin = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let (Ok(mut at), Ok(length)) = (u64::try_from(begin), u64::try_from(column.compressed_size())) else {
            return Err("a column lies before the beginning of the file".into());
        };
        let end = at.saturating_add(length);
        while at < end {
            let wrong = |error: io::Error| format!("a page at byte {at} has no header: {error}");
            let here = file.stream_position().map_err(wrong)?;
            // Within what is in the buffer, where pages are small.
            match i64::try_from(i128::from(at) - i128::from(here)) {
                Ok(distance) => file.seek_relative(distance).map_err(wrong)?,
                Err(_) => drop(file.seek(SeekFrom::Start(at)).map_err(wrong)?),
            }
            let mut header = Header { from: (&mut file).take(end - at) };
            let (unpacked, packed) = header.sizes().map_err(wrong)?;
            let grown = match column.compression() {
                Compression::UNCOMPRESSED => packed,
                Compression::SNAPPY => packed.saturating_mul(SNAPPY),
                // What they become is not known before; nothing that is written here is packed so.
                _ => OTHERS,
            };
            if unpacked > SMALL && unpacked > grown {
                return Err(format!(
                    "a page at byte {at} says that it unpacks {packed} bytes to {unpacked}, which no data does"
                ));
            }
            if unpacked > most || packed > most {
                return Err(format!("a page at byte {at} has {} bytes, and may have {most}", unpacked.max(packed)));
            }
            at = end.saturating_sub(header.from.limit()).saturating_add(packed);
        }
        if at > end {
            return Err(format!("the last page of a column goes on beyond byte {end}, where it ends"));
        }
    }
    Ok(())
}

/// A header of a page.
struct Header<R> {
    from: io::Take<R>,
}

impl<R: Read> Header<R> {
    /// How many bytes the page has unpacked, and packed.
    fn sizes(&mut self) -> io::Result<(u64, u64)> {
        let (mut unpacked, mut packed) = (None, None);
        let mut field = 0;
        while let Some((number, kind)) = self.field(field)? {
            field = number;
            match (number, kind) {
                (2, 5) => unpacked = u64::try_from(self.zigzag()?).ok(),
                (3, 5) => packed = u64::try_from(self.zigzag()?).ok(),
                (_, kind) => self.skip(kind, DEPTH)?,
            }
        }
        unpacked.zip(packed).ok_or_else(|| wrong("it has no sizes"))
    }

    /// The number and the kind of the next field; none at the end.
    fn field(&mut self, before: i64) -> io::Result<Option<(i64, u8)>> {
        let byte = self.byte()?;
        let kind = byte & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        let number = match i64::from(byte >> 4) {
            0 => self.zigzag()?,
            more => before + more,
        };
        Ok(Some((number, kind)))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> io::Result<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(wrong("it goes too deep")) };
        match kind {
            // A truth is its kind.
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let begin = self.byte()?;
                let count = match u64::from(begin >> 4) {
                    15 => self.varint()?,
                    few => few,
                };
                // Each takes a byte at least, so the column ends before these do.
                (0..count).try_for_each(|_| match begin & 0x0f {
                    1 | 2 => self.byte().map(drop),
                    kind => self.skip(kind, depth),
                })
            }
            12 => {
                let mut field = 0;
                while let Some((number, kind)) = self.field(field)? {
                    field = number;
                    self.skip(kind, depth)?;
                }
                Ok(())
            }
            _ => Err(wrong("it has a field of no known kind")),
        }
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut (&mut self.from).take(bytes), &mut io::sink())?;
        if passed < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(wrong("a number in it does not end"))
    }

    fn zigzag(&mut self) -> io::Result<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, sync::Arc};

    use ::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        file::properties::WriterProperties,
    };

    use super::*;

    fn file(packed: Compression, dictionary: bool) -> Vec<u8> {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..20_000).map(|n| n * n)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..20_000).map(|n| format!("text {}", n % 50))));
        let rows = RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(packed)
            .set_dictionary_enabled(dictionary)
            .set_data_page_row_count_limit(3000)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.into_inner().unwrap()
    }

    const MOST: u64 = 1 << 20;

    fn measured(file: &[u8], most: u64) -> Result<(), String> {
        let bytes = bytes::Bytes::copy_from_slice(file);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| error.to_string())?;
        measured_pages(&mut Cursor::new(file), builder.metadata(), most)
    }

    #[test]
    fn pages_of_honest_files_pass() {
        for packed in
            [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(parquet::basic::ZstdLevel::default())]
        {
            for dictionary in [true, false] {
                measured(&file(packed, dictionary), MOST).unwrap_or_else(|why| panic!("{packed} {dictionary}: {why}"));
            }
        }
    }

    /// The file with another size in the header of its first page, which is told to have `claimed` bytes unpacked.
    fn claiming(claimed: u32) -> Vec<u8> {
        let mut honest = file(Compression::SNAPPY, false);
        // Kind of page and then its sizes, in the first three fields.
        assert_eq!((honest[4], honest[6]), (0x15, 0x15));
        let end = 7 + honest[7..].iter().position(|byte| *byte < 0x80).unwrap() + 1;
        let mut zigzag = u64::from(claimed) << 1;
        let mut size = Vec::new();
        while zigzag >= 0x80 {
            size.push((zigzag & 0x7f) as u8 | 0x80);
            zigzag >>= 7;
        }
        size.push(zigzag as u8);
        honest.splice(7..end, size);
        honest
    }

    #[test]
    fn a_page_does_not_claim_what_it_cannot_be() {
        let check = |claimed: u32, part: &str| {
            let file = claiming(claimed);
            let why = measured(&file, MOST).expect_err(part);
            assert!(why.contains(part), "{why}");
        };
        check(i32::MAX.unsigned_abs(), "which no data does");
        check(u32::MAX, "which no data does");
        let why = measured(&file(Compression::SNAPPY, false), 100).expect_err("too large");
        assert!(why.contains("and may have 100"), "{why}");
    }

    #[test]
    fn every_cut_and_every_byte_ends_in_a_verdict() {
        let whole = file(Compression::SNAPPY, true);
        let metadata = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(whole.clone())).unwrap();
        for at in (4..whole.len()).step_by(97) {
            drop(measured_pages(&mut Cursor::new(&whole[..at]), metadata.metadata(), MOST));
            let mut altered = whole.clone();
            altered[at] ^= 0xff;
            drop(measured_pages(&mut Cursor::new(&altered), metadata.metadata(), MOST));
        }
    }
}
