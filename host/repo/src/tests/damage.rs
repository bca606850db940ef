//! Stored bytes that are not what was written: reading says so by code, and fsck names the object.

use std::path::{Path, PathBuf};

use spout_base::error::{Coded, Kind};

use super::*;

const NEWEST: &str = "repos/events/branches/master/00000000000000000004.json";

/// A store with three commits, the second with an object of its own.
async fn three() -> (Store, tempfile::TempDir, Repo) {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let big = vec![9u8; 64 << 10];
    commit(&repo, &mut writer, &[("/a", PutMode::Append, b"one")], (None, 1)).await;
    commit(&repo, &mut writer, &[("/big", PutMode::Append, &big)], (Some(1), 2)).await;
    commit(&repo, &mut writer, &[("/a", PutMode::Append, b"two")], (Some(2), 3)).await;
    (store, dir, repo)
}

fn object(dir: &Path) -> PathBuf {
    std::fs::read_dir(dir.join("repos/events/data")).unwrap().next().unwrap().unwrap().path()
}

/// What fsck says, and that it says it of `path`.
async fn found(store: &Store, depth: Depth, path: &Path) -> Finding {
    let report = fsck(store, None, depth).await.unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let finding = report.findings.iter().find(|finding| finding.object.ends_with(name));
    finding.unwrap_or_else(|| panic!("{name} is not in {report:?}")).clone()
}

#[tokio::test]
async fn a_damaged_record_is_refused_and_named() {
    let check = async |damage: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>, expected: &str, kind: Kind| {
        let (store, dir, repo) = three().await;
        // Not the newest: without it nothing tells that it was ever there.
        let path = dir.path().join(NEWEST.replace('4', "3"));
        match damage(std::fs::read(&path).unwrap()) {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let errors = [
            repo.resolve(&"events".parse().unwrap()).await.unwrap_err(),
            repo.writer("master", "events").await.unwrap_err(),
            repo.log("master").await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.code(), error.kind()), (expected, kind), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        let finding = found(&store, Depth::Structure, &path).await;
        assert_eq!(finding.severity, Severity::Error);
        assert_eq!(finding.affects, "branch master of repo events from sequence 3 on");
    };
    check(&|_| Some(Vec::new()), "E0520", Kind::Corrupt).await;
    check(&|bytes| Some(bytes[..bytes.len() / 2].to_vec()), "E0520", Kind::Corrupt).await;
    check(&|bytes| Some(bytes[..bytes.len() - 1].to_vec()), "E0520", Kind::Corrupt).await;
    check(&|_| None, "E0521", Kind::Corrupt).await;
    check(&|bytes| Some([bytes.as_slice(), b" "].concat()), "E0520", Kind::Corrupt).await;
    let newer = |bytes: Vec<u8>| Some(forged(bytes, "\"version\":1", "\"version\":2"));
    check(&newer, "E0522", Kind::Spec).await;
}

/// A record with something else in it, and a checksum that fits.
fn forged(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    let text = text.replacen(from, to, 1);
    let (body, _) = text.rsplit_once("\"checksum\":\"").unwrap();
    let sum = spout_format::sha256(format!("{body}\"checksum\":\"\"}}").as_bytes());
    format!("{body}\"checksum\":\"{sum}\"}}").into_bytes()
}

#[tokio::test]
async fn whoever_can_write_the_store_cannot_reach_beyond_a_repo() {
    let (store, dir, repo) = three().await;
    let path = dir.path().join(NEWEST);
    let good = std::fs::read(&path).unwrap();
    let paths = ["/../../etc/x", "a", "//a", "/a/./b", "/a\\\\b", "/\\u001b[2Ja", "/.spout/x"];
    let paths = paths.map(|to| (r#""path":"/a""#, format!(r#""path":"{to}""#)));
    let removed = (r#""removed":[]"#, r#""removed":["/a","/../b"]"#.to_owned());
    let inline = r#""place":{"inline":"dHdv"}"#;
    let places = [
        r#"{"object":"../../other/data/x"}"#,
        r#"{"object":"/etc/passwd"}"#,
        r#"{"record":{"branch":"../x","sequence":1}}"#,
    ];
    let places = places.map(|to| (inline, format!(r#""place":{to}"#)));
    // Numbers that have no next one, or no sum.
    let numbers = [r#""number":3"#, r#""sequence":4"#, r#""size":3"#].map(|from| {
        let (name, _) = from.split_once(':').unwrap();
        (from, format!("{name}:{}", u64::MAX))
    });
    for (from, to) in paths.into_iter().chain([removed]).chain(places).chain(numbers) {
        std::fs::write(&path, forged(good.clone(), from, &to)).unwrap();
        let error = repo.resolve(&"events".parse().unwrap()).await.unwrap_err();
        assert_eq!((code(&error), error.kind()), ("E0520", Kind::Corrupt), "{to}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        assert_eq!(found(&store, Depth::Structure, &path).await.severity, Severity::Error, "{to}");
    }
    // A size that nobody has is no reason to reserve that much.
    std::fs::write(&path, forged(good, r#""size":3"#, &format!(r#""size":{}"#, 1_u64 << 50))).unwrap();
    let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
    let tree = repo.tree(&head).await.unwrap();
    let error = repo.read_file(&tree, "/a").await.unwrap_err();
    assert_eq!(code(&error), "E0523", "{error}");
}

#[tokio::test]
async fn every_altered_byte_of_a_record_is_found() {
    let (store, dir, repo) = three().await;
    let path = dir.path().join(NEWEST);
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let error = repo.resolve(&"events".parse().unwrap()).await.unwrap_err();
        assert_eq!(code(&error), "E0520", "byte {at}: {error}");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(fsck(&store, None, Depth::Everything).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_damaged_object_is_refused_and_named() {
    let check = async |damage: &dyn Fn(&mut Vec<u8>) -> bool, fast_finds: bool| {
        let (store, dir, repo) = three().await;
        let path = object(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        if damage(&mut bytes) {
            std::fs::write(&path, &bytes).unwrap()
        } else {
            std::fs::remove_file(&path).unwrap()
        }
        let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
        let tree = repo.tree(&head).await.unwrap();
        let error = repo.read_file(&tree, "/big").await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("E0523", Kind::Corrupt), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        let finding = found(&store, Depth::Everything, &path).await;
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.affects.contains("/big of commit "), "{finding:?}");
        assert_eq!(fsck(&store, None, Depth::Structure).await.unwrap().is_clean(), !fast_finds);
        // The rest can be read.
        assert_eq!(repo.read_file(&tree, "/a").await.unwrap(), "onetwo");
    };
    check(&|_| false, true).await;
    check(&|bytes| bytes.pop().is_some(), true).await;
    let flip = |bytes: &mut Vec<u8>| {
        bytes[777] ^= 4;
        true
    };
    check(&flip, false).await;
}

#[tokio::test]
async fn records_that_were_swapped_or_copied_are_found() {
    let (store, dir, repo) = three().await;
    let records = dir.path().join("repos/events/branches/master");
    let name = |sequence: u64| records.join(format!("{sequence:020}.json"));
    std::fs::copy(name(4), name(5)).unwrap();
    assert_eq!(code(&repo.log("master").await.unwrap_err()), "E0520");
    assert!(found(&store, Depth::Structure, &name(5)).await.what.contains("sequence 4"));
    std::fs::remove_file(name(5)).unwrap();
    // A record of another history with the right sequence.
    let (_other, other_dir, _) = three().await;
    std::fs::copy(other_dir.path().join(NEWEST), name(4)).unwrap();
    assert_eq!(code(&repo.log("master").await.unwrap_err()), "E0520");
    assert!(found(&store, Depth::Structure, &name(4)).await.what.contains("does not follow the record"));
}

#[tokio::test]
async fn leftovers_are_tolerated_and_reported() {
    let (store, dir, repo) = three().await;
    let staged = dir.path().join("repos/events/branches/master/00000000000000000005.json#1");
    let orphan = dir.path().join("repos/events/data/0123-0.parquet");
    let odd = dir.path().join("repos/events/branches/master/notes.txt");
    for path in [&staged, &orphan, &odd] {
        std::fs::write(path, "half").unwrap();
    }
    let mut writer = repo.writer("master", "events").await.unwrap();
    commit(&repo, &mut writer, &[("/a", PutMode::Append, b"three")], (Some(3), 4)).await;
    assert_eq!(read(&repo, writer.head().unwrap(), "/a").await, b"onetwothree");
    assert_eq!(found(&store, Depth::Structure, &staged).await.severity, Severity::Note);
    assert_eq!(found(&store, Depth::Structure, &orphan).await.severity, Severity::Note);
    assert_eq!(found(&store, Depth::Structure, &odd).await.severity, Severity::Warning);
    assert!(fsck(&store, Some("events"), Depth::Everything).await.unwrap().is_clean());
    assert_eq!(code(&fsck(&store, Some("event"), Depth::Everything).await.unwrap_err()), "E0510");
}

#[tokio::test]
async fn a_damaged_repo_file_is_named() {
    let (store, dir, _repo) = three().await;
    let path = dir.path().join("repos/events/repo.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("events", "others");
    std::fs::write(&path, text).unwrap();
    assert_eq!(code(&store.repo("events").await.unwrap_err()), "E0520");
    assert_eq!(found(&store, Depth::Structure, &path).await.severity, Severity::Error);
}
