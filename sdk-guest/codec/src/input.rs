//! Messages as a decoder sees them: borrowed, in one run of bytes.

/// What messages have in common from one on, until the next attribute of that name: their file's name, its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Index of the first message it applies to.
    pub first: u32,
    /// Its name, such as `file`.
    pub name: String,
    /// Its value; empty where the attribute ends.
    pub value: Vec<u8>,
}

/// The time of a message that has none, among messages that have one.
pub const NO_TIME: i64 = i64::MIN;

/// The messages of one call. All lists but `bounds` are empty or have one entry per message; `nulls` and `attributes`
/// are sparse.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// Where each message begins in `bytes`, and where the last one ends; empty if there are none.
    pub bounds: &'a [u32],
    /// All payloads, one after the other.
    pub bytes: &'a [u8],
    /// Indices of messages whose payload is null, rising.
    pub nulls: &'a [u32],
    /// When each message was sent, in milliseconds since 1970; [`NO_TIME`] where that is not known, also beyond the end.
    pub timestamps_ms: &'a [i64],
    /// Sorted by `first`.
    pub attributes: &'a [Attribute],
}

impl<'a> Input<'a> {
    /// Number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload of one message; empty if there is none.
    #[must_use]
    #[inline]
    pub fn value(&self, index: usize) -> &'a [u8] {
        match (self.bounds.get(index), self.bounds.get(index + 1)) {
            (Some(&from), Some(&to)) => self.bytes.get(from as usize..to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// When message `index` was sent, if known.
    #[must_use]
    pub fn timestamp_ms(&self, index: usize) -> Option<i64> {
        self.timestamps_ms.get(index).copied().filter(|&at| at != NO_TIME)
    }

    /// The attribute `name` of message `index`, if it has one.
    ///
    /// Searches all attributes: with many messages, ask once per run, see [`Attribute::first`].
    #[must_use]
    pub fn attribute(&self, index: usize, name: &str) -> Option<&'a [u8]> {
        let holds = |attribute: &&Attribute| attribute.name == name && attribute.first as usize <= index;
        self.attributes.iter().rev().find(holds).map(|attribute| attribute.value.as_slice()).filter(|v| !v.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_holds_until_the_next_of_its_name() {
        let attribute = |first, name: &str, value: &[u8]| Attribute { first, name: name.into(), value: value.into() };
        let attributes = [attribute(1, "file", b"a"), attribute(2, "header", b"x"), attribute(3, "file", b"")];
        let input = Input { attributes: &attributes, ..Input::default() };
        let files: Vec<_> = (0..4).map(|index| input.attribute(index, "file")).collect();
        assert_eq!(files, [None, Some(b"a".as_slice()), Some(b"a"), None]);
        assert_eq!(input.attribute(3, "header"), Some(b"x".as_slice()));
    }
}
