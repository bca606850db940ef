//! Files in the plugins directory that are no plugin for this host, and what the registry says about them.

use std::{fs, path::Path};

use super::*;

/// `(module)`: the smallest core module.
const CORE: &[u8] = b"\0asm\x01\0\0\0";

fn copy(to: &Path, guest: &str) {
    fs::copy(guests().join(format!("{guest}.wasm")), to.join(format!("{guest}.wasm"))).unwrap();
}

#[tokio::test]
async fn every_broken_file_has_its_own_error_and_harms_no_other() {
    let place = tempfile::tempdir().unwrap();
    let (dir, cache) = (place.path().join("plugins"), place.path().join("cache"));
    fs::create_dir(&dir).unwrap();
    for guest in ["hostile", "other-world", "other-version"] {
        copy(&dir, guest);
    }
    let hostile = fs::read(dir.join("hostile.wasm")).unwrap();
    fs::write(dir.join("core.wasm"), CORE).unwrap();
    fs::write(dir.join("empty.wasm"), b"").unwrap();
    fs::write(dir.join("text.wasm"), b"#!/bin/sh\nrm -rf /\n").unwrap();
    fs::write(dir.join("torn.wasm"), &hostile[..hostile.len() / 2]).unwrap();
    fs::write(dir.join("notes.txt"), b"not looked at").unwrap();
    fs::create_dir(dir.join("directory.wasm")).unwrap();
    fs::File::create(dir.join("huge.wasm")).unwrap().set_len(1 << 32).unwrap();

    let plugins = Plugins::open(&dir, Some(&cache)).unwrap();
    let listed = plugins.list().await.unwrap();
    let by = |name: &str| &listed.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name}")).plugin;
    assert_eq!(listed.len(), 9);
    assert_eq!(
        by("hostile").as_ref().unwrap().worlds(),
        [World::Source, World::StreamSource, World::Decoder, World::Handler]
    );
    assert!(matches!(by("core"), Err(Error::NotAComponent { .. })));
    assert!(matches!(by("empty"), Err(Error::Broken { .. })));
    assert!(matches!(by("text"), Err(Error::Broken { .. })));
    assert!(matches!(by("torn"), Err(Error::Compile { .. })), "{:?}", by("torn"));
    assert!(matches!(by("huge"), Err(Error::Broken { .. })));
    assert!(matches!(by("directory"), Err(Error::Directory { .. } | Error::Broken { .. })));
    assert!(matches!(by("other-world"), Err(Error::NoInterface { .. })), "{:?}", by("other-world"));
    let version = by("other-version").as_ref().unwrap_err().to_string();
    assert!(version.contains("spout:plugin@0.9.0") && version.contains("spout:plugin@0.1"), "{version}");
    let missing = plugins.get("hostil").await.unwrap_err().to_string();
    assert!(missing.contains("did you mean `hostile`"), "{missing}");
}

#[tokio::test]
async fn a_pinned_plugin_is_that_file_and_no_other() {
    let place = tempfile::tempdir().unwrap();
    let (dir, cache) = (place.path().join("plugins"), place.path().join("cache"));
    fs::create_dir(&dir).unwrap();
    copy(&dir, "hostile");
    let plugins = Plugins::open(&dir, Some(&cache)).unwrap();
    let digest = plugins.get("hostile").await.unwrap().digest().to_owned();
    let pinned = format!("hostile@{digest}");
    plugins.get(&pinned).await.unwrap();
    // Another file under the same name, while the host runs.
    fs::copy(guests().join("other-world.wasm"), dir.join("hostile.wasm")).unwrap();
    assert!(matches!(plugins.get(&pinned).await, Err(Error::DigestMismatch { .. })));
    assert!(matches!(plugins.get("hostile").await, Err(Error::NoInterface { .. })));
}

#[tokio::test]
async fn damaged_compiled_code_is_compiled_again() {
    let place = tempfile::tempdir().unwrap();
    let (dir, cache) = (place.path().join("plugins"), place.path().join("cache"));
    fs::create_dir(&dir).unwrap();
    copy(&dir, "hostile");
    let open = || async { Plugins::open(&dir, Some(&cache)).unwrap().get("hostile").await.unwrap() };
    open().await;
    let code = || {
        let mut files = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
    };
    let whole = fs::read(code()).unwrap();
    let damage: [fn(&mut Vec<u8>); 3] = [
        |code| code.truncate(code.len() / 2),
        |code| {
            let middle = code.len() / 2;
            code[middle] ^= 0xff;
        },
        Vec::clear,
    ];
    for spoil in damage {
        let mut spoilt = whole.clone();
        spoil(&mut spoilt);
        fs::write(code(), &spoilt).unwrap();
        open().await;
        assert_eq!(fs::read(code()).unwrap().len(), whole.len(), "the cache is whole again");
    }
}

#[tokio::test]
async fn a_directory_of_others_is_left_alone_and_plugins_load_all_the_same() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = tempfile::tempdir().unwrap();
    let (dir, cache) = (place.path().join("plugins"), place.path().join("cache"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    copy(&dir, "hostile");
    Plugins::open(&dir, Some(&cache)).unwrap().get("hostile").await.unwrap();
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "something was written where others can change it");
    Plugins::open(&dir, None).unwrap().get("hostile").await.unwrap();
}

#[tokio::test]
async fn nothing_is_touched_before_a_plugin_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let (dir, cache) = (place.path().join("plugins"), place.path().join("cache"));
    let plugins = Plugins::open(&dir, Some(&cache)).unwrap();
    assert!(!dir.exists() && !cache.exists());
    let error = plugins.get("hostile").await.unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error}");
}

#[tokio::test]
async fn a_new_and_a_replaced_plugin_are_told_from_a_known_one() {
    use crate::cache::{Cache, Change};
    let place = tempfile::tempdir().unwrap();
    let (dir, other, cache) = (place.path().join("plugins"), place.path().join("other"), place.path().join("cache"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&other).unwrap();
    let check = |of: &Path, digest: &str, expected: Option<Change>| {
        // Each start has a cache of its own.
        assert_eq!(Cache::new(Some(&cache)).change(of, "p", digest), expected, "{digest} in {}", of.display());
    };
    check(&dir, "1", Some(Change::New));
    check(&dir, "1", None);
    check(&other, "1", Some(Change::New));
    check(&dir, "2", Some(Change::Replaced));
    check(&dir, "2", None);
    check(&other, "1", None);
}
