//! Every import of WASI one by one, names that lead out of granted directories, and files that never end.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use wasmtime::component::types::ComponentItem;

use super::*;

/// What the guest says in an error of its own: code and message.
async fn fatal(mode: &str) -> Result<(String, String), Error> {
    match make("fetch", task(mode, "fetch").await).await.expect_err(mode) {
        Error::Fatal { code, message, .. } => Ok((code, message)),
        other => Err(other),
    }
}

/// The functions of WASI that the guest imports, as `cli/exit.exit`: methods by their own names.
async fn imported() -> BTreeSet<String> {
    let plugin = PLUGINS.get("hostile").await.unwrap();
    let (component, engine) = (plugin.pre.component(), plugin.pre.engine());
    let mut found = BTreeSet::new();
    for (interface, item) in component.component_type().imports(engine) {
        let Some(named) = interface.strip_prefix("wasi:") else { continue };
        let named = named.split('@').next().unwrap();
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                let function = function.rsplit('.').next().unwrap();
                // `ready` and `block` are methods, `poll` is not.
                found.insert(format!("{named}.{function}"));
            }
        }
    }
    found
}

/// Functions of WASI 0.2 without HTTP, where streams of both directions and sockets of UDP each have one `subscribe`.
const OF_WASI: usize = 119;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_import_of_wasi_is_denied_or_harmless() {
    let mut tried = BTreeSet::new();
    let (mut harmless, mut crashed) = (0, 0);
    for number in 0.. {
        let (_, name) = fatal(&format!("import-name-{number}")).await.unwrap();
        match fatal(&format!("import-{number}")).await {
            Ok((code, _)) if code == "import.none" => break,
            Ok((code, said)) => {
                assert_eq!((code.as_str(), said.as_str()), ("import.harmless", name.as_str()));
                harmless += 1;
            }
            // A handle that nobody gave, or more random bytes than there are.
            Err(error) => {
                assert!(error.is_crash(), "{name}: {error:?}");
                crashed += 1;
            }
        }
        tried.insert(name);
    }
    assert_eq!(tried.len(), OF_WASI, "{tried:#?}");
    let forgotten: Vec<_> = imported().await.difference(&tried).cloned().collect();
    assert!(forgotten.is_empty(), "the guest imports what it does not try: {forgotten:?}");
    assert!(harmless > 30 && crashed > 30, "{harmless} were harmless, {crashed} crashed");
    // The host is alive, and what comes next is like what came before.
    assert_eq!(fetch(task("", "").await, 0).await.unwrap().messages.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_that_a_guest_may_make_leads_out_of_what_it_is_granted() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let text = |name: &str| fs::read_to_string(at(name)).unwrap();
    for dir in ["data/sub/deep", "more", "data/keep", "empty"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    fs::write(at("data/in.txt"), "granted").unwrap();
    fs::write(at("data/keep/kept.txt"), "kept").unwrap();
    fs::write(at("secret.txt"), "secret").unwrap();
    symlink("secret.txt", at("link")).unwrap();
    symlink("..", at("data/out")).unwrap();
    symlink(place.path(), at("data/out-absolute")).unwrap();
    let old = fs::metadata(at("secret.txt")).unwrap().modified().unwrap();
    let mut linking = task("links", "fetch").await;
    linking.limits.call = Period(Duration::from_secs(30));
    let grant = |path, write| DirGrant::Access { path, write };
    // The one to be read lies in the one to be written.
    for (name, path, write) in [("data", "data", true), ("more", "more", true), ("keep", "data/keep", false)] {
        linking.grants.dirs.insert(name.into(), grant(at(path), write));
    }
    let error = make("fetch", linking).await.unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "links.denied"), "{error}");
    assert_eq!((text("secret.txt").as_str(), text("data/keep/kept.txt").as_str()), ("secret", "kept"));
    assert_eq!(fs::metadata(at("secret.txt")).unwrap().modified().unwrap(), old);
    let there: BTreeSet<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there.len(), 5, "something was made outside: {there:?}");
}

/// A file that looks like any other, and whose end waits for more, as one on a device does that does not answer.
#[test]
fn a_file_that_never_ends_holds_a_call_no_longer_than_its_limit() {
    if fs::File::open("/proc/kmsg").is_err() {
        eprintln!("skipped: this user may not read what the kernel says, and no other file waits");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut reading = task("kernel-log", "fetch").await;
        reading.grants.dirs.insert("data".into(), DirGrant::Path("/proc".into()));
        let started = spout_base::clock::now();
        let error = make("fetch", reading).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(fetch(task("", "").await, 0).await.unwrap().messages.len(), 10);
    });
    // The thread still waits, and nobody for it.
    runtime.shutdown_background();
}
