//! An input, cut into the parts of the files that it becomes.

use tokio::io::BufReader;

use super::{
    Split,
    records::{Fault, Records},
};
use crate::{Body, Error, Result, unreadable};

/// A file is put in pieces of about this size, so that memory does not grow with it.
const PIECE: usize = 8 << 20;
/// Files that one input may become.
const MOST: u64 = 100_000;

/// Cuts `body` as a [`Split`] says.
pub(crate) struct Cutter<'a> {
    split: Split,
    below: &'a str,
    records: Records<BufReader<Body<'a>>>,
    header: Vec<u8>,
    /// Records that were read.
    read: u64,
    files: u64,
    /// Records, and bytes of them, of the file that is being cut.
    datums: u64,
    bytes: u64,
}

/// A file, or as much of it as is put at once.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// Whether the file begins with it, or ends.
    pub(crate) first: bool,
    pub(crate) last: bool,
}

impl<'a> Cutter<'a> {
    /// Cuts what is to be put below the directory `below`.
    pub(crate) fn new(body: Body<'a>, split: Split, below: &'a str) -> Self {
        let records = Records::new(BufReader::with_capacity(64 << 10, body), split.by);
        Self { split, below, records, header: Vec::new(), read: 0, files: 0, datums: 0, bytes: 0 }
    }

    /// Reads the header, once, before any part.
    pub(crate) async fn header(&mut self) -> Result<()> {
        let mut header = Vec::new();
        while self.read < self.split.header_records && self.record(&mut header).await? {}
        self.header = header;
        Ok(())
    }

    /// The next part; none behind the last file.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>> {
        let first = self.datums == 0;
        let mut bytes = if first { self.header.clone() } else { Vec::new() };
        loop {
            let before = bytes.len();
            if !self.record(&mut bytes).await? {
                // The last file of the input has what is left.
                let ends = self.datums > 0;
                self.datums = 0;
                return Ok(ends.then_some(Part { bytes, first, last: true }));
            }
            if self.datums == 0 {
                self.files += 1;
                if self.files > MOST {
                    let why =
                        format!("it becomes more than {MOST} files; set --target-file-datums or --target-file-bytes");
                    return Err(self.refused(why));
                }
            }
            self.datums += 1;
            self.bytes += (bytes.len() - before) as u64;
            let full = self.split.is_full(self.datums, self.bytes);
            if full {
                (self.datums, self.bytes) = (0, 0);
            }
            if full || bytes.len() >= PIECE {
                return Ok(Some(Part { bytes, first, last: full }));
            }
        }
    }

    async fn record(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        match self.records.next(into).await {
            Ok(true) => {
                self.read += 1;
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(Fault::Unread(source)) => Err(unreadable(self.below, source)),
            Err(Fault::Broken(why)) => {
                let (record, by) = (self.read + 1, self.split.by.name());
                Err(self.refused(format!("{by} record {record} cannot be taken: {why}")))
            }
        }
    }

    fn refused(&self, why: String) -> Error {
        Error::Split { below: self.below.to_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitBy;

    async fn files(text: &str, split: Split) -> Vec<String> {
        let mut cutter = Cutter::new(Box::new(text.as_bytes()), split, "/d");
        cutter.header().await.unwrap();
        let mut files: Vec<String> = Vec::new();
        while let Some(part) = cutter.next().await.unwrap() {
            let text = String::from_utf8(part.bytes).unwrap();
            if part.first {
                files.push(text);
            } else {
                files.last_mut().unwrap().push_str(&text);
            }
        }
        files
    }

    #[tokio::test]
    async fn files_end_at_the_first_target_and_begin_with_the_header() {
        let split = |header_records, target_file_datums, target_file_bytes| Split {
            by: SplitBy::Line,
            header_records,
            target_file_datums,
            target_file_bytes,
        };
        let text = "h\n1\n22\n333\n4";
        for (split, expected) in [
            (split(0, 0, 0), &["h\n", "1\n", "22\n", "333\n", "4"] as &[&str]),
            (split(0, 2, 0), &["h\n1\n", "22\n333\n", "4"]),
            (split(0, 5, 0), &[text]),
            (split(0, 0, 4), &["h\n1\n", "22\n333\n", "4"]),
            (split(0, 3, 5), &["h\n1\n22\n", "333\n4"]),
            (split(1, 0, 0), &["h\n1\n", "h\n22\n", "h\n333\n", "h\n4"]),
            (split(1, 3, 0), &["h\n1\n22\n333\n", "h\n4"]),
            (split(5, 0, 0), &[]),
            (split(9, 0, 0), &[]),
        ] {
            assert_eq!(files(text, split).await, expected, "{split:?}");
        }
        assert!(files("", split(0, 0, 0)).await.is_empty());
    }

    #[tokio::test]
    async fn a_large_file_comes_in_pieces() {
        let text = "0123456789abcde\n".repeat(3 << 16);
        let split = Split { by: SplitBy::Line, header_records: 0, target_file_datums: u64::MAX, target_file_bytes: 0 };
        let twice = text.repeat(8);
        let mut cutter = Cutter::new(Box::new(twice.as_bytes()), split, "/d");
        cutter.header().await.unwrap();
        let (mut sizes, mut ends) = (Vec::new(), Vec::new());
        while let Some(part) = cutter.next().await.unwrap() {
            sizes.push(part.bytes.len());
            ends.push((part.first, part.last));
        }
        assert_eq!(sizes, [PIECE, PIECE, PIECE, 0]);
        assert_eq!(ends, [(true, false), (false, false), (false, false), (false, true)]);
    }
}
