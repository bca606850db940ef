//! A request, written from its front.

use bytes::BufMut as _;

use crate::wire::{Api, TopicId};

/// A request on its way to being sent.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Output {
    /// A request with its head: `bytes` of it come after its length.
    pub(crate) fn request(api: Api, version: i16, correlation: i32, client: &str) -> Self {
        let mut out = Self { bytes: vec![0; 4], flexible: false };
        out.i16(api.key);
        out.i16(version);
        out.i32(correlation);
        // The name of the client is written the old way even in flexible requests.
        out.text(client);
        out.flexible = version >= api.flexible;
        out.tags();
        out
    }

    /// The request with its length in front, which counts as many bytes more, sent by others.
    pub(crate) fn framed(mut self, more: usize) -> Vec<u8> {
        let length = i32::try_from(self.bytes.len().saturating_sub(4) + more).unwrap_or(i32::MAX).to_be_bytes();
        if let Some(front) = self.bytes.first_chunk_mut::<4>() {
            *front = length;
        }
        self.bytes
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    pub(crate) fn topic_id(&mut self, id: &TopicId) {
        self.bytes.put_slice(id);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8(0x80 | u8::try_from(value & 0x7f).unwrap_or(0));
            value >>= 7;
        }
        self.bytes.put_u8(u8::try_from(value).unwrap_or(0));
    }

    pub(crate) fn text(&mut self, text: &str) {
        if self.flexible {
            self.varint(u32::try_from(text.len()).unwrap_or(0).saturating_add(1));
        } else {
            self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        }
        self.bytes.put_slice(text.as_bytes());
    }

    /// Bytes with their length.
    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.blob_before(bytes, 0);
    }

    /// The beginning of bytes, of which as many more follow, and the length of all.
    pub(crate) fn blob_before(&mut self, bytes: &[u8], more: usize) {
        self.count(bytes.len() + more);
        self.bytes.put_slice(bytes);
    }

    /// How many things follow.
    pub(crate) fn count(&mut self, count: usize) {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if self.flexible {
            self.varint(count.unsigned_abs().saturating_add(1));
        } else {
            self.i32(count);
        }
    }

    /// No tagged fields, where there may be some.
    pub(crate) fn tags(&mut self) {
        if self.flexible {
            self.bytes.put_u8(0);
        }
    }
}
