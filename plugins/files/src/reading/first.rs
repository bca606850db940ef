//! The first record of a file, which goes with all its messages.

use std::io;

use super::{CHUNK, ReadOptions, Reading, Step};
use crate::{
    framing::{Out, foreign, nuls},
    mark::Content as _,
};

/// A header that is longer is none.
const HEADER: usize = 1 << 20;

/// A first message that is longer does not go with the others.
const FIRST: usize = 64 << 10;

/// Bytes asked for at first to find it again: of a packed file they are still there.
const FIRST_LOOK: usize = 4 << 10;

impl Reading {
    /// Finds the first message, which may name what is in all others: also where reading goes on in the middle.
    pub(super) fn find_first(&mut self, options: ReadOptions, last: bool) -> io::Result<()> {
        if options.header || self.refused || self.first.is_some() {
            return Ok(());
        }
        let told = |bytes: &[u8], all: bool, most: usize| -> Option<Vec<u8>> {
            let bytes = bytes.get(nuls(bytes)..).unwrap_or_default();
            let found = options.framer.first(bytes, all).map(|(first, _)| bytes.get(first).unwrap_or_default());
            match found {
                // An object names its own values.
                Some(first) if first.len() > FIRST || first.starts_with(b"{") => Some(Vec::new()),
                Some(first) => Some(first.to_vec()),
                None => (bytes.len() >= most).then(Vec::new),
            }
        };
        self.first = if self.place.at() == 0 {
            let bytes = self.buffer.get(self.used..).unwrap_or_default();
            if self.hole > 0 { Some(Vec::new()) } else { told(bytes, last, FIRST + 2) }
        } else {
            let few = self.open_text()?.bytes(0, FIRST_LOOK)?;
            match told(&few, false, usize::MAX) {
                Some(first) => Some(first),
                None => Some(told(&self.open_text()?.bytes(0, FIRST + 2)?, false, 0).unwrap_or_default()),
            }
        };
        Ok(())
    }

    /// The record that names the columns. Where the file is read from its start, the place moves behind it. It is no message,
    /// unless there may be more in it than a header.
    pub(super) fn find_header(
        &mut self,
        options: ReadOptions,
        offset: u64,
        ends: bool,
        out: &mut Out,
    ) -> io::Result<Step> {
        let mut wanted = CHUNK;
        loop {
            let bytes = self.open_text()?.bytes(0, wanted)?;
            let all = bytes.len() < wanted;
            if bytes.is_empty() {
                return Ok(if ends { Step::Over } else { Step::Nothing });
            }
            if foreign(&bytes).is_some() {
                self.header = Some(Vec::new());
                return Ok(Step::Moved(0));
            }
            if let Some((header, next)) = options.framer.first(&bytes, all && ends) {
                let start = header.start as u64;
                let header = bytes.get(header).unwrap_or_default();
                self.header = Some(header.to_vec());
                if self.at() > 0 {
                    return Ok(Step::Moved(0));
                }
                let ended = bytes.get(..next).is_some_and(|record| record.ends_with(b"\n"));
                if options.framer.has_return(header) {
                    self.attributes(out);
                    let reason = format!(
                        "the header of {} has a carriage return outside quotes, and no line feed behind it: lines end with \\n or \\r\\n",
                        self.path
                    );
                    out.fault(offset + start, header.get(..256).unwrap_or(header), "csv.syntax", &reason);
                } else if !ended && !header.is_empty() {
                    // It may be all that there is of a cut file, or a record: who decodes knows the columns.
                    self.attributes(out);
                    out.whole(offset + start, header);
                }
                self.place.advance(bytes.get(..next).unwrap_or_default());
                return Ok(Step::Moved(next as u64));
            }
            if all && !ends && wanted <= HEADER {
                return Ok(Step::Nothing);
            }
            if all || wanted > HEADER {
                self.refused = true;
                self.attributes(out);
                let reason = format!("the header of {} has no end; nothing of the file is read", self.path);
                out.fault(offset + self.at(), bytes.get(..256).unwrap_or(&bytes), "csv.header", &reason);
                self.place.advance(&bytes);
                return Ok(Step::Moved(bytes.len() as u64));
            }
            wanted *= 4;
        }
    }
}
