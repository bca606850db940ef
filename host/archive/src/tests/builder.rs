//! Makes archives, sound ones and others.

/// One header with what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Made<'a> {
    pub(crate) name: &'a str,
    /// In place of the name.
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) content: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) prefix: &'a str,
    /// In the header, in place of that of the content.
    pub(crate) size: Option<u64>,
    /// The size is in base 256.
    pub(crate) wide: bool,
    /// The checksum is of signed bytes.
    pub(crate) signed: bool,
    /// Without the magic of ustar, and with the letter NUL.
    pub(crate) old: bool,
}

impl<'a> Made<'a> {
    pub(crate) fn file(name: &'a str, content: &str) -> Self {
        let content = content.as_bytes().to_vec();
        let (prefix, kind) = ("", b'0');
        Self { name, bytes: None, content, kind, prefix, size: None, wide: false, signed: false, old: false }
    }

    pub(crate) fn directory(name: &'a str) -> Self {
        Self { kind: b'5', ..Self::file(name, "") }
    }

    pub(crate) fn pax(records: &[(&str, &str)]) -> Self {
        let record = |(key, value): &(&str, &str)| {
            let rest = format!(" {key}={value}\n");
            let digits = (1..).find(|digits| (rest.len() + digits).to_string().len() == *digits).unwrap();
            format!("{}{rest}", rest.len() + digits)
        };
        pax(records.iter().map(record).collect::<String>().as_bytes())
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.bytes.as_deref().unwrap_or(self.name.as_bytes()));
        let size = self.size.unwrap_or(self.content.len() as u64);
        if self.wide {
            put(124, &[&[0x80, 0, 0, 0], size.to_be_bytes().as_slice()].concat());
        } else {
            put(124, format!("{size:011o}").as_bytes());
        }
        if !self.old {
            put(156, &[self.kind]);
            put(257, b"ustar\x0000");
            put(345, self.prefix.as_bytes());
        }
        put(148, b"        ");
        let value = |byte: &u8| if self.signed { i64::from(byte.cast_signed()) } else { i64::from(*byte) };
        let sum: i64 = block.iter().map(value).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(&self.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

/// An extended header of these bytes.
pub(crate) fn pax(records: &[u8]) -> Made<'static> {
    Made { kind: b'x', content: records.to_vec(), ..Made::file("PaxHeader", "") }
}

/// Without the two zero blocks.
pub(crate) fn raw(made: &[Made<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    made.iter().for_each(|made| made.write(&mut out));
    out
}

/// A whole archive.
pub(crate) fn archive(made: &[Made<'_>]) -> Vec<u8> {
    let mut out = raw(made);
    out.extend_from_slice(&[0; 1024]);
    out
}
