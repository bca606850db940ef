//! Archives made by hand, field by field, and by other programs.

mod against_others;
pub(super) mod builder;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use self::builder::{Made, archive, pax, raw};
use super::*;

/// The archives of a stream, each with its files, and what is wrong after them.
#[derive(Debug, Default)]
struct Found {
    archives: Vec<Vec<(String, Vec<u8>)>>,
    fault: Option<String>,
}

fn said(error: ArchiveError) -> String {
    format!("{error}: {}", error.fault)
}

/// Bytes that arrive so many at a time.
pub(super) struct Dripping<'a>(pub(super) &'a [u8], pub(super) usize);

impl AsyncRead for Dripping<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let (now, later) = self.0.split_at(self.0.len().min(self.1).min(into.remaining()));
        into.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// Reads `bytes`, which arrive `at_once` at a time.
async fn read(bytes: &[u8], at_once: usize) -> Found {
    let mut archives = Archives::new(Dripping(bytes, at_once), "a test");
    let (mut found, mut files) = (Found::default(), Vec::new());
    loop {
        match archives.next().await {
            Ok(Step::Entry(entry)) => {
                let mut content = Vec::new();
                if archives.content().read_to_end(&mut content).await.is_err() {
                    found.fault = archives.broken().map(said);
                    return found;
                }
                assert_eq!(content.len() as u64, entry.size, "{entry:?}");
                files.push((entry.path, content));
            }
            Ok(Step::End) => found.archives.push(std::mem::take(&mut files)),
            Ok(Step::Over) => return found,
            Err(error) => {
                found.fault = Some(said(error));
                return found;
            }
        }
    }
}

/// What is read of a sound stream, however it arrives.
async fn check(bytes: &[u8], expected: &[&[(&str, &str)]]) {
    for at_once in [1, 511, 513, 1 << 20] {
        let found = read(bytes, at_once).await;
        assert_eq!(found.fault, None);
        let files: Vec<Vec<(&str, &str)>> = found
            .archives
            .iter()
            .map(|files| files.iter().map(|(path, text)| (path.as_str(), std::str::from_utf8(text).unwrap())).collect())
            .collect();
        assert_eq!(files, expected);
    }
}

const END: [u8; 1024] = [0; 1024];

#[tokio::test]
async fn archives_follow_each_other_with_any_number_of_zero_blocks_between_them() {
    let one = archive(&[Made::file("a", "1"), Made::directory("d/"), Made::file("./d/b", "")]);
    let two = archive(&[Made::file("/c", "33")]);
    check(&[], &[]).await;
    check(&[0; 512 * 7], &[]).await;
    check(&[one.as_slice(), &END, &END, &two].concat(), &[&[("a", "1"), ("d/b", "")], &[("/c", "33")]]).await;
    check(&[&END[..512], &one, &two].concat(), &[&[("a", "1"), ("d/b", "")], &[("/c", "33")]]).await;
    check(&archive(&[Made::directory("only/")]), &[&[]]).await;
}

#[tokio::test]
async fn longer_names_and_sizes_are_those_of_the_extended_headers() {
    let long = "d/".repeat(300) + "f";
    let gnu = Made { kind: b'L', ..Made::file("././@LongLink", &format!("{long}\0")) };
    check(&archive(&[gnu.clone(), Made::file("short", "x")]), &[&[(&long, "x")]]).await;
    let path = Made::pax(&[("path", &long), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "\n=")]);
    check(&archive(&[path.clone(), Made::file("short", "x")]), &[&[(&long, "x")]]).await;
    // Both, as long as they agree.
    check(&archive(&[gnu, path, Made::file("short", "x")]), &[&[(&long, "x")]]).await;
    // A size in PAX counts, whatever the header says.
    let sized =
        archive(&[Made::pax(&[("size", "3")]), Made { size: Some(0), ..Made::file("a", "abc") }, Made::file("b", "")]);
    check(&sized, &[&[("a", "abc"), ("b", "")]]).await;
    // The name of a split header, a size in base 256, a sum of signed bytes.
    check(&archive(&[Made { prefix: "p/q", ..Made::file("f", "1") }]), &[&[("p/q/f", "1")]]).await;
    check(&archive(&[Made { wide: true, ..Made::file("f", "1") }]), &[&[("f", "1")]]).await;
    check(&archive(&[Made { signed: true, ..Made::file("é", "1") }]), &[&[("é", "1")]]).await;
    check(
        &archive(&[Made { old: true, ..Made::file("f", "1") }, Made { old: true, ..Made::file("dir/", "") }]),
        &[&[("f", "1")]],
    )
    .await;
}

#[tokio::test]
async fn sparse_files_are_whole_again() {
    let map = [("GNU.sparse.map", "1,2,6,1"), ("GNU.sparse.size", "8"), ("GNU.sparse.name", "real")];
    check(&archive(&[Made::pax(&map), Made::file("x", "abc")]), &[&[("real", "\0ab\0\0\0c\0")]]).await;
    let bare = [("GNU.sparse.size", "8"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.offset", "5")];
    let pairs = [bare.as_slice(), &[("GNU.sparse.numbytes", "3")]].concat();
    check(&archive(&[Made::pax(&pairs), Made::file("x", "abc")]), &[&[("x", "\0\0\0\0\0abc")]]).await;
    let stored = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "4")];
    let content = format!("{:\0<512}abc", "1\n1\n3\n");
    check(&archive(&[Made::pax(&stored), Made::file("x", &content)]), &[&[("x", "\0abc")]]).await;
}

#[tokio::test]
async fn what_is_no_sound_archive_is_refused_with_its_place() {
    let sound = archive(&[Made::file("a", "1")]);
    let file = raw(&[Made::file("a", "1")]);
    let check = async |bytes: &[u8], archives: usize, expected: &str| {
        let found = read(bytes, 700).await;
        assert_eq!(found.archives.len(), archives, "{expected}");
        let fault = found.fault.unwrap_or_default();
        assert!(fault.contains(expected), "{fault:?} does not say {expected:?}");
    };
    // Cut off: in a header, in a name, in content, before the end, in the end.
    for cut in [1, 511, 512, 513, 1023, 1024, 1025, 1536, sound.len() - 1] {
        check(&sound[..cut], 0, "cut off").await;
        check(&[&sound, &sound[..cut]].concat(), 1, "archive 2 of a test").await;
    }
    check(&sound[..513], 0, "entry `a`, byte 513: it is cut off").await;
    check(&[file.as_slice(), &[0; 512], &sound].concat(), 0, "one zero block").await;
    let mut flipped = sound.clone();
    flipped[3] ^= 1;
    check(&flipped, 0, "checksum").await;
    check(b"#!/bin/sh\necho this is text and not an archive at all".repeat(20).as_slice(), 0, "no tar header").await;
    check(&archive(&[pax(b"8 path=a\n"), Made::file("a", "")]), 0, "PAX record").await;
    check(&archive(&[pax(b"999999999999999999 path=a\n"), Made::file("a", "")]), 0, "PAX record").await;
    check(&archive(&[pax(b"18446744073709551616 a=b\n"), Made::file("a", "")]), 0, "PAX record").await;
    check(&archive(&[Made::pax(&[("size", "-1")]), Made::file("a", "")]), 0, "PAX record size").await;
    check(&archive(&[Made::pax(&[("path", "b")])]), 0, "without its entry").await;
    let global = Made { kind: b'g', ..Made::pax(&[("path", "b")]) };
    check(&archive(&[global, Made::file("a", "")]), 0, "for all entries").await;
    let names = [Made { kind: b'L', ..Made::file("l", "b") }, Made::pax(&[("path", "c")]), Made::file("a", "")];
    check(&archive(&names), 0, "two names").await;
    check(&archive(&vec![Made::pax(&[("path", "b")]); 17]), 0, "more than 16").await;
    for kind in *b"123467MN~" {
        if kind != b'7' {
            check(&archive(&[Made { kind, ..Made::file("a", "") }]), 0, "entry `a`, byte 512: it is ").await;
        }
    }
    // Capped before a byte of it is taken.
    for kind in *b"xgLK" {
        let huge = raw(&[Made { kind, size: Some(1 << 33), ..Made::file("a", "") }]);
        check(&huge, 0, "8589934592 bytes, more than").await;
    }
    check(&raw(&[Made { size: Some(u64::MAX >> 2), wide: true, ..Made::file("a", "") }]), 0, "more than any file")
        .await;
    check(&archive(&[Made { bytes: Some(b"\xff\xfe".to_vec()), ..Made::file("", "") }]), 0, "not UTF-8").await;
    let sparse = |map: &str, size: &str| {
        archive(&[Made::pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size)]), Made::file("s", "abc")])
    };
    check(&sparse("0,3", "999999999999"), 0, "only 3 are stored").await;
    check(&sparse("0,2,1,1", "9"), 0, "overlap").await;
    check(&sparse("8,3", "9"), 0, "outside").await;
    check(&sparse("0,1", "9"), 0, "map has 1 bytes").await;
    check(&sparse("0,1,2", "9"), 0, "odd number").await;
}

#[tokio::test]
async fn an_archive_has_so_many_entries_and_no_more() {
    let entry = raw(&[Made::file("a", "")]);
    let many = entry.repeat(100_000);
    let found = read(&[many.as_slice(), &END].concat(), 1 << 20).await;
    assert_eq!((found.archives.len(), found.fault), (1, None));
    let found = read(&[many.as_slice(), &entry, &END].concat(), 1 << 20).await;
    assert!(found.fault.unwrap().contains("more than 100000 entries"));
}
