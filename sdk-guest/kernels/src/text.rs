//! Texts: patterns, masks and hashes. Each goes through its rows one by one and stops when nobody waits for it.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringBuilder},
    datatypes::DataType,
};
use regex::{Regex, RegexBuilder};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What one kernel may take.
pub struct Work<'a> {
    /// Bytes that it may make.
    pub most: usize,
    /// Asked between rows: whether somebody still waits for it.
    pub wanted: &'a Wanted<'a>,
}

type Wanted<'a> = dyn Fn() -> bool + 'a;

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("most", &self.most).finish_non_exhaustive()
    }
}

/// A regular expression of the crate `regex`: time grows with the length of the text, whatever the text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Bytes that a compiled pattern may take.
    const SIZE: usize = 1 << 20;

    /// The pattern that `text` is.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn new(text: &str) -> Result<Self> {
        let built = RegexBuilder::new(text).size_limit(Self::SIZE).dfa_size_limit(Self::SIZE).build();
        built.map(Self).map_err(|error| Error::pattern(format!("pattern `{text}`: {error}")))
    }
}

/// Whether each text has a match of `pattern`.
///
/// # Errors
/// The column is not of texts; nobody waits.
pub fn matches(column: &dyn Array, pattern: &Pattern, work: &Work<'_>) -> Result<ArrayRef> {
    let texts = Texts::of(column)?;
    let held = (0..column.len()).map(|row| {
        work.wanted()?;
        Ok(texts.get(row).map(|text| pattern.0.is_match(text)))
    });
    Ok(Arc::new(held.collect::<Result<BooleanArray>>()?))
}

/// The texts with every match of `pattern` replaced; `$1` in `with` stands for a group.
///
/// # Errors
/// The column is not of texts; what comes out is too large; nobody waits.
pub fn replace(column: &dyn Array, pattern: &Pattern, with: &str, work: &Work<'_>) -> Result<ArrayRef> {
    let texts = Texts::of(column)?;
    let mut made = Made::new(column, work);
    for row in 0..column.len() {
        let Some(text) = texts.get(row) else {
            made.null()?;
            continue;
        };
        let (mut written, mut from) = (String::new(), 0);
        for found in pattern.0.captures_iter(text) {
            let Some(whole) = found.get(0) else { continue };
            written.push_str(text.get(from..whole.start()).unwrap_or_default());
            found.expand(with, &mut written);
            made.fits(written.len())?;
            from = whole.end();
        }
        written.push_str(text.get(from..).unwrap_or_default());
        made.text(&written)?;
    }
    Ok(made.finish())
}

/// The texts with each character replaced by `with`, except for the first and the last so many. A text that has no more characters
/// than these is replaced whole, so that nothing short is shown.
///
/// # Errors
/// The column is not of texts; what comes out is too large; nobody waits.
pub fn mask(column: &dyn Array, first: u32, last: u32, with: char, work: &Work<'_>) -> Result<ArrayRef> {
    let texts = Texts::of(column)?;
    let mut made = Made::new(column, work);
    let mut written = String::new();
    for row in 0..column.len() {
        let Some(text) = texts.get(row) else {
            made.null()?;
            continue;
        };
        let count = text.chars().count();
        let shown = |at: usize| at < first as usize || at >= count.saturating_sub(last as usize);
        let all = count <= (first as usize).saturating_add(last as usize);
        written.clear();
        made.fits(count.saturating_mul(with.len_utf8()))?;
        written.extend(text.chars().enumerate().map(|(at, one)| if !all && shown(at) { one } else { with }));
        made.text(&written)?;
    }
    Ok(made.finish())
}

/// The SHA-256 of `salt` and each value behind it, in hexadecimal digits: equal values can still be told to be equal. A salt that
/// nobody knows keeps short values from being guessed.
///
/// # Errors
/// The column is neither of texts nor of bytes; what comes out is too large; nobody waits.
pub fn hash(column: &dyn Array, salt: &[u8], work: &Work<'_>) -> Result<ArrayRef> {
    let begun = Sha256::new_with_prefix(salt);
    let values = Bytes::of(column)?;
    let mut made = Made::new(column, work);
    let mut digits = String::with_capacity(64);
    for row in 0..column.len() {
        let Some(value) = values.get(row) else {
            made.null()?;
            continue;
        };
        let hash = begun.clone().chain_update(value).finalize();
        digits.clear();
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        digits.extend(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        made.text(&digits)?;
    }
    Ok(made.finish())
}

impl Work<'_> {
    fn wanted(&self) -> Result<()> {
        if (self.wanted)() { Ok(()) } else { Err(Error::stopped()) }
    }
}

/// A column of texts in the making.
struct Made<'a> {
    texts: StringBuilder,
    bytes: usize,
    work: &'a Work<'a>,
}

impl<'a> Made<'a> {
    fn new(column: &dyn Array, work: &'a Work<'a>) -> Self {
        Self { texts: StringBuilder::with_capacity(column.len(), 0), bytes: 0, work }
    }

    /// So many bytes more may come.
    fn fits(&self, more: usize) -> Result<()> {
        let most = self.work.most.min(i32::MAX as usize);
        if self.bytes.saturating_add(more) <= most {
            return Ok(());
        }
        Err(Error::size(format!("row {}: the column takes more than {most} bytes", self.texts.values_slice().len())))
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.work.wanted()?;
        self.fits(text.len())?;
        self.bytes += text.len();
        self.texts.append_value(text);
        Ok(())
    }

    fn null(&mut self) -> Result<()> {
        self.work.wanted()?;
        self.texts.append_null();
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.texts.finish())
    }
}

/// Columns of texts, of either width.
enum Texts<'a> {
    Small(&'a arrow::array::StringArray),
    Large(&'a arrow::array::LargeStringArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a dyn Array) -> Result<Self> {
        match column.data_type() {
            DataType::Utf8 => Ok(Self::Small(column.as_string())),
            DataType::LargeUtf8 => Ok(Self::Large(column.as_string())),
            other => Err(Error::of_type(format!("a column of texts is needed, this one is of {other}"))),
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Small(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Self::Large(texts) => texts.is_valid(row).then(|| texts.value(row)),
        }
    }
}

/// Columns of texts or of bytes.
enum Bytes<'a> {
    Texts(Texts<'a>),
    Small(&'a BinaryArray),
    Large(&'a arrow::array::LargeBinaryArray),
}

impl<'a> Bytes<'a> {
    fn of(column: &'a dyn Array) -> Result<Self> {
        match column.data_type() {
            DataType::Binary => Ok(Self::Small(column.as_binary())),
            DataType::LargeBinary => Ok(Self::Large(column.as_binary())),
            DataType::Utf8 | DataType::LargeUtf8 => Texts::of(column).map(Self::Texts),
            other => {
                Err(Error::of_type(format!("a column of texts or bytes is needed, this one is of {other}; cast it")))
            }
        }
    }

    fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Texts(texts) => texts.get(row).map(str::as_bytes),
            Self::Small(values) => values.is_valid(row).then(|| values.value(row)),
            Self::Large(values) => values.is_valid(row).then(|| values.value(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use arrow::array::{Int64Array, LargeStringArray, StringArray};

    use super::*;

    const FREE: Work<'static> = Work { most: usize::MAX, wanted: &|| true };

    fn texts(column: &ArrayRef) -> Vec<Option<&str>> {
        column.as_string::<i32>().iter().collect()
    }

    fn some() -> StringArray {
        StringArray::from(vec![Some("ada@example.org"), None, Some("é")])
    }

    #[test]
    fn patterns_match_and_replace() {
        let at = Pattern::new("(.+)@(.+)").unwrap();
        let held = matches(&some(), &at, &FREE).unwrap();
        assert_eq!(held.as_boolean(), &BooleanArray::from(vec![Some(true), None, Some(false)]));
        let swapped =
            replace(&LargeStringArray::from(vec![Some("a@b"), None, Some("c")]), &at, "$2 at $1", &FREE).unwrap();
        assert_eq!(texts(&swapped), [Some("b at a"), None, Some("c")]);
        assert_eq!(Pattern::new("(").unwrap_err().code, "kernel.pattern");
        assert_eq!(Pattern::new("(((a{1000}){1000}){1000})").unwrap_err().code, "kernel.pattern");
    }

    #[test]
    fn a_mask_shows_what_it_is_told_to() {
        let masked = mask(&some(), 1, 4, '*', &FREE).unwrap();
        assert_eq!(texts(&masked), [Some("a**********.org"), None, Some("*")]);
        let short = StringArray::from(vec!["12345", "123456", ""]);
        assert_eq!(texts(&mask(&short, 1, 4, '•', &FREE).unwrap()), [Some("•••••"), Some("1•3456"), Some("")]);
    }

    #[test]
    fn a_hash_is_that_of_salt_and_value() {
        let hashed = hash(&StringArray::from(vec![Some("a@b"), None]), b"", &FREE).unwrap();
        assert_eq!(texts(&hashed), [Some("7508d8b5018ea640b85269861a101203f0c26900555268e930025dac844b0f35"), None]);
        let behind = hash(&BinaryArray::from(vec![b"@b".as_slice()]), b"a", &FREE).unwrap();
        assert_eq!(texts(&behind)[0], texts(&hashed)[0]);
        assert_eq!(hash(&Int64Array::from(vec![1]), b"", &FREE).unwrap_err().code, "kernel.type");
    }

    #[test]
    fn what_grows_is_bounded() {
        let all = Pattern::new("").unwrap();
        let bound = Work { most: 1_000, wanted: &|| true };
        let error = replace(&StringArray::from(vec!["aaaaaaaaaa"]), &all, &"x".repeat(200), &bound).unwrap_err();
        assert_eq!(error.code, "kernel.size");
        assert_eq!(hash(&StringArray::from(vec!["a"; 16]), b"", &bound).unwrap_err().code, "kernel.size");
        assert_eq!(mask(&StringArray::from(vec!["aaa"; 400]), 0, 0, '•', &bound).unwrap_err().code, "kernel.size");
    }

    #[test]
    fn nobody_is_waited_for_in_vain() {
        let left = Cell::new(3);
        let wanted = || {
            left.set(left.get() - 1);
            left.get() > 0
        };
        let work = Work { most: usize::MAX, wanted: &wanted };
        let error = matches(&StringArray::from(vec!["a"; 100]), &Pattern::new("a").unwrap(), &work).unwrap_err();
        assert_eq!((error.code, left.get()), ("kernel.stopped", 0));
    }
}
