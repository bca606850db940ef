//! Parsers of frames, whose input comes as it likes.

use bytes::BytesMut;

/// What `parse` finds in `bytes` that come in pieces of `size`, and what it says is wrong with the rest: the same, however large the pieces
/// are. As in [`Wire::receive`](crate::net::Wire::receive), it takes what it uses from the front, and answers `None` while there is not enough.
pub fn in_pieces<T, E>(
    bytes: &[u8],
    size: usize,
    mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> (Vec<T>, Option<E>) {
    let (mut got, mut all) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        got.extend_from_slice(piece);
        loop {
            match parse(&mut got) {
                Ok(Some(found)) => all.push(found),
                Ok(None) => break,
                Err(wrong) => return (all, Some(wrong)),
            }
        }
    }
    (all, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_does_not_depend_on_pieces() {
        let line = |got: &mut BytesMut| match got.iter().position(|byte| *byte == b'\n') {
            Some(0) => Err("an empty line"),
            Some(end) => Ok(Some(got.split_to(end + 1))),
            None => Ok(None),
        };
        for size in 1..9 {
            let (found, wrong) = in_pieces(b"a\nbc\n\nd\n", size, line);
            assert_eq!((found.concat(), wrong), (b"a\nbc\n".to_vec(), Some("an empty line")), "{size}");
        }
    }
}
