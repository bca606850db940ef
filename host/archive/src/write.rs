//! Archives that others read: ustar, with PAX records where a name or a size has no room in it.

use super::header::BLOCK;

/// Names in a header are at most this long; longer ones are in a PAX record before it.
const NAME: usize = 100;
/// Sizes from here on do not fit into the digits of a header.
const LARGE: u64 = 0o77_777_777_777;

/// What ends an archive.
pub fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// Zeros behind so many bytes, up to the end of a block.
pub fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 { 0 } else { BLOCK - over }
}

/// The header of a file of `size` bytes, behind a PAX record of what it cannot hold. The content follows, then its
/// [`padding`].
///
/// `mtime`: seconds since 1970, UTC.
pub fn head(path: &str, size: u64, mtime: u64) -> Vec<u8> {
    let mut records = String::new();
    if path.len() > NAME || !path.is_ascii() {
        records += &record("path", path);
    }
    if size > LARGE {
        records += &record("size", &size.to_string());
    }
    let mut heads = Vec::new();
    if !records.is_empty() {
        heads.extend(ustar("pax", records.len() as u64, mtime, b'x'));
        heads.extend(records.as_bytes());
        heads.resize(heads.len() + padding(records.len() as u64), 0);
    }
    heads.extend(ustar(path, size.min(LARGE), mtime, b'0'));
    heads
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

fn ustar(path: &str, size: u64, mtime: u64, kind: u8) -> Vec<u8> {
    let mut head = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path.as_bytes()[..path.len().min(NAME)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", mtime.min(LARGE)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        assert_eq!(record("path", "a"), "9 path=a\n");
        for length in [80, 90, 91, 92, 93, 94, 990, 991, 992] {
            let text = record("path", &"x".repeat(length));
            assert_eq!(text.split(' ').next().unwrap(), text.len().to_string());
        }
    }

    #[test]
    fn headers_are_whole_blocks() {
        for (path, size) in [("a", 1), (&*"long/".repeat(60), 0), ("größe", LARGE + 1)] {
            let heads = head(path, size, 1);
            assert_eq!(heads.len() % BLOCK, 0, "{path}");
        }
        assert_eq!((padding(0), padding(1), padding(512), padding(513)), (0, 511, 0, 511));
    }
}
