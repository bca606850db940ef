//! Record batches, byte by byte, as Kafka's documentation has them.

use std::io::Write as _;

use crate::records::checksum;

/// A record to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) delta: i32,
    pub(crate) time: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A batch to be.
#[derive(Clone, Debug)]
pub(crate) struct Bat {
    pub(crate) base: i64,
    pub(crate) last_delta: i32,
    pub(crate) attributes: i16,
    pub(crate) producer: i64,
    pub(crate) time: i64,
    pub(crate) records: Vec<Rec>,
}

pub(crate) const GZIP: i16 = 1;
pub(crate) const SNAPPY: i16 = 2;
pub(crate) const LZ4: i16 = 3;
pub(crate) const ZSTD: i16 = 4;
pub(crate) const LOG_TIME: i16 = 8;
pub(crate) const TRANSACTIONAL: i16 = 16;
pub(crate) const CONTROL: i16 = 32;

/// A batch of records with these values from `base` on.
pub(crate) fn batch(base: i64, values: &[&str]) -> Bat {
    let record = |(delta, value): (usize, &&str)| Rec {
        delta: i32::try_from(delta).unwrap(),
        value: Some(value.as_bytes().to_vec()),
        ..Rec::default()
    };
    let records: Vec<Rec> = values.iter().enumerate().map(record).collect();
    let last_delta = i32::try_from(records.len()).unwrap() - 1;
    Bat { base, last_delta, attributes: 0, producer: -1, time: 1_000, records }
}

/// The marker at `base` of a transaction of `producer`.
pub(crate) fn marker(base: i64, producer: i64, commits: bool) -> Bat {
    let key = vec![0, 0, 0, u8::from(commits)];
    let records = vec![Rec { key: Some(key), value: Some(vec![0; 6]), ..Rec::default() }];
    Bat { base, last_delta: 0, attributes: CONTROL | TRANSACTIONAL, producer, time: 1_000, records }
}

impl Bat {
    pub(crate) fn with(self, attributes: i16) -> Self {
        Self { attributes: self.attributes | attributes, ..self }
    }

    pub(crate) fn of(self, producer: i64) -> Self {
        Self { producer, attributes: self.attributes | TRANSACTIONAL, ..self }
    }

    pub(crate) fn last(&self) -> i64 {
        self.base + i64::from(self.last_delta)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        self.records.iter().for_each(|record| record.write(&mut records));
        self.around(&compress(self.attributes, &records))
    }

    /// A batch with these bytes for records, whatever they are.
    pub(crate) fn around(&self, payload: &[u8]) -> Vec<u8> {
        let mut summed = Vec::new();
        summed.extend(self.attributes.to_be_bytes());
        summed.extend(self.last_delta.to_be_bytes());
        summed.extend(self.time.to_be_bytes());
        summed.extend((self.time + 50).to_be_bytes());
        summed.extend(self.producer.to_be_bytes());
        summed.extend(0_i16.to_be_bytes());
        summed.extend(0_i32.to_be_bytes());
        summed.extend(i32::try_from(self.records.len()).unwrap().to_be_bytes());
        summed.extend(payload);
        let mut batch = self.base.to_be_bytes().to_vec();
        batch.extend(i32::try_from(summed.len() + 9).unwrap().to_be_bytes());
        batch.extend(0_i32.to_be_bytes());
        batch.push(2);
        batch.extend(checksum(&summed).to_be_bytes());
        batch.extend(summed);
        batch
    }
}

impl Rec {
    fn write(&self, out: &mut Vec<u8>) {
        let mut body = vec![0];
        varint(self.time, &mut body);
        varint(self.delta.into(), &mut body);
        blob(self.key.as_deref(), &mut body);
        blob(self.value.as_deref(), &mut body);
        varint(i64::try_from(self.headers.len()).unwrap(), &mut body);
        for (name, value) in &self.headers {
            blob(Some(name), &mut body);
            blob(value.as_deref(), &mut body);
        }
        varint(i64::try_from(body.len()).unwrap(), out);
        out.extend(body);
    }
}

pub(crate) fn varint(value: i64, out: &mut Vec<u8>) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn blob(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => varint(-1, out),
        Some(bytes) => {
            varint(i64::try_from(bytes.len()).unwrap(), out);
            out.extend(bytes);
        }
    }
}

pub(crate) fn compress(attributes: i16, records: &[u8]) -> Vec<u8> {
    match attributes & 7 {
        GZIP => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(records).unwrap();
            out.finish().unwrap()
        }
        SNAPPY => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        LZ4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(records).unwrap();
            out.finish().unwrap()
        }
        ZSTD => ruzstd::encoding::compress_to_vec(records, ruzstd::encoding::CompressionLevel::Fastest),
        _ => records.to_vec(),
    }
}

/// As Kafka's Java clients frame Snappy: a head, and blocks of at most `size` bytes each.
pub(crate) fn xerial(records: &[u8], size: usize) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in records.chunks(size) {
        let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
        out.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        out.extend(block);
    }
    out
}

/// The records of a batch as they lie in it uncompressed.
pub(crate) fn plain(batch: &Bat) -> Vec<u8> {
    let mut records = Vec::new();
    batch.records.iter().for_each(|record| record.write(&mut records));
    records
}
