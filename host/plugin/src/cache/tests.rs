//! What somebody else put into the directory, or changed there, does not count; what this installation wrote does.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
};

use wasmtime::Engine;

use super::vault::{Entry, Refusal, Vault};

const CODE: &[u8] = b"\x7fELF and then what runs";
const EVIL: &[u8] = b"\x7fELF and then what must not";

fn engine() -> Engine {
    crate::engine::start().unwrap()
}

fn entry(engine: &Engine, plugin: &str) -> Entry {
    Entry::new(engine, &crate::component::digest(plugin.as_bytes()))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// A vault that holds the code of one plugin, and the file it lies in.
struct Place {
    dir: tempfile::TempDir,
    vault: Vault,
    entry: Entry,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(&dir.path().join("a/cache")).unwrap();
        let entry = entry(&engine(), "ours");
        vault.keep(&entry, CODE).unwrap();
        Self { dir, vault, entry }
    }

    fn file(&self) -> std::path::PathBuf {
        self.vault.dir().join(self.entry.name())
    }

    /// The entry is refused for the reason that `expected` accepts; keeping it once more mends it.
    fn check(&self, what: &str, expected: fn(&Refusal) -> bool) {
        let refused = self.vault.take(&self.entry).expect_err(what);
        assert!(expected(&refused), "{what}: {refused}");
        self.vault.keep(&self.entry, CODE).unwrap();
        assert_eq!(self.vault.take(&self.entry).unwrap().as_deref(), Some(CODE), "{what}");
    }
}

#[test]
fn code_is_kept_under_a_key_of_this_user_alone() {
    let place = Place::new();
    let (cache, key) = (place.dir.path().join("a/cache"), place.dir.path().join("a/cache/key"));
    assert_eq!((mode_of(&place.dir.path().join("a")), mode_of(&cache), mode_of(&key)), (0o700, 0o700, 0o600));
    assert_eq!((fs::read(&key).unwrap().len(), mode_of(&place.file())), (32, 0o600));
    let again = Vault::open(&cache).unwrap();
    assert_eq!(again.take(&place.entry).unwrap().as_deref(), Some(CODE));
    assert!(again.take(&entry(&engine(), "another")).unwrap().is_none());
    let left: Vec<_> = fs::read_dir(&cache).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn processes_that_start_together_make_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let entry = entry(&engine(), "ours");
    let barrier = std::sync::Barrier::new(8);
    let vaults: Vec<Vault> = std::thread::scope(|scope| {
        let open = || {
            barrier.wait();
            Vault::open(dir.path().join("cache").as_path()).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for one in &vaults {
        one.keep(&entry, CODE).unwrap();
        assert!(vaults.iter().all(|other| other.take(&entry).unwrap().as_deref() == Some(CODE)));
    }
}

#[test]
fn code_with_another_seal_is_not_taken() {
    let place = Place::new();
    let foreign = |refusal: &Refusal| matches!(refusal, Refusal::Foreign);
    let sound = fs::read(place.file()).unwrap();

    let others = Place::new();
    others.vault.keep(&others.entry, EVIL).unwrap();
    fs::copy(others.file(), place.file()).unwrap();
    place.check("another installation's", foreign);

    let stolen = entry(&engine(), "evil");
    place.vault.keep(&stolen, EVIL).unwrap();
    fs::copy(place.vault.dir().join(stolen.name()), place.file()).unwrap();
    place.check("another plugin's under this name", foreign);

    // What the cache looked like once: code alone, and its sum beside it.
    fs::write(place.file(), EVIL).unwrap();
    fs::write(place.file().with_extension("sum"), crate::component::digest(EVIL)).unwrap();
    place.check("a sum without a key", foreign);

    let mut changed = sound.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (what, bytes) in [
        ("torn", &sound[..sound.len() / 2]),
        ("torn within the seal", &sound[..20]),
        ("empty", &[]),
        ("changed", &changed),
        ("with more behind", &[sound.as_slice(), b"x"].concat()),
    ] {
        fs::write(place.file(), bytes).unwrap();
        place.check(what, foreign);
    }
}

#[test]
fn a_file_that_others_could_have_made_is_not_opened_as_ours() {
    let place = Place::new();
    let beside = place.dir.path().join("beside");
    fs::rename(place.file(), &beside).unwrap();
    symlink(&beside, place.file()).unwrap();
    place.check("a link to sound code", |refusal| matches!(refusal, Refusal::Link));
    assert!(!place.file().is_symlink(), "the link was replaced, not followed");

    mode(&place.file(), 0o620);
    place.check("writable for a group", |refusal| matches!(refusal, Refusal::Writable(0o620)));
    mode(&place.file(), 0o602);
    place.check("writable for all", |refusal| matches!(refusal, Refusal::Writable(0o602)));

    fs::remove_file(place.file()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(place.file()).status().unwrap().success());
    place.check("a pipe", |refusal| matches!(refusal, Refusal::Kind(_)));

    // Only root can give files away; whoever else runs this cannot be attacked that way by itself.
    if rustix::process::geteuid().is_root() {
        chown(place.file(), Some(12345), None).unwrap();
        place.check("another user's", |refusal| matches!(refusal, Refusal::Owner { owner: 12345, .. }));
    }
}

#[test]
fn a_directory_that_others_can_change_is_not_used() {
    let check = |what: &str, spoil: fn(&Path), expected: fn(&Refusal) -> bool| {
        let place = Place::new();
        spoil(place.vault.dir());
        let refused = Vault::open(place.vault.dir()).expect_err(what);
        assert!(expected(&refused), "{what}: {refused}");
    };
    check("for all", |dir| mode(dir, 0o777), |refusal| matches!(refusal, Refusal::Writable(0o777)));
    check("for a group", |dir| mode(dir, 0o770), |refusal| matches!(refusal, Refusal::Writable(0o770)));
    check(
        "a file",
        |dir| fs::remove_dir_all(dir).and_then(|()| fs::write(dir, "")).unwrap(),
        |refusal| matches!(refusal, Refusal::Kind("directory")),
    );
    let link: fn(&Path) = |dir| {
        let real = dir.with_file_name("real");
        fs::rename(dir, &real).unwrap();
        symlink(real, dir).unwrap();
    };
    check("a link", link, |refusal| matches!(refusal, Refusal::Link));
    check("a key for all", |dir| mode(&dir.join("key"), 0o644), |refusal| matches!(refusal, Refusal::Shared(0o644)));
    check(
        "a short key",
        |dir| fs::write(dir.join("key"), [7; 31]).unwrap(),
        |refusal| matches!(refusal, Refusal::Key(31)),
    );
    let linked_key: fn(&Path) = |dir| {
        fs::rename(dir.join("key"), dir.with_file_name("key")).unwrap();
        symlink(dir.with_file_name("key"), dir.join("key")).unwrap();
    };
    check("a linked key", linked_key, |refusal| matches!(refusal, Refusal::Link));
    if rustix::process::geteuid().is_root() {
        let other = |refusal: &Refusal| matches!(refusal, Refusal::Owner { owner: 12345, .. });
        check("another user's", |dir| chown(dir, Some(12345), None).unwrap(), other);
        check("another user's key", |dir| chown(dir.join("key"), Some(12345), None).unwrap(), other);
    }
    // A slash at the end has the system follow a link; we do not.
    let place = Place::new();
    symlink(place.vault.dir(), place.dir.path().join("link")).unwrap();
    let slashed = format!("{}/link/", place.dir.path().display());
    assert!(matches!(Vault::open(Path::new(&slashed)).unwrap_err(), Refusal::Link));
}

#[test]
fn the_oldest_code_goes_where_there_is_too_much() {
    let place = Place::new();
    let engine = engine();
    for (age, plugin) in [(300, "a"), (200, "b"), (100, "c")] {
        let entry = entry(&engine, plugin);
        place.vault.keep(&entry, &[0; 1000]).unwrap();
        let file = fs::File::options().write(true).open(place.vault.dir().join(entry.name())).unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age);
        file.set_modified(then).unwrap();
    }
    place.vault.make_room(place.entry.name(), 2500).unwrap();
    let there = |plugin| place.vault.take(&entry(&engine, plugin)).unwrap().is_some();
    assert_eq!([there("a"), there("b"), there("c"), there("ours")], [false, true, true, true]);
}

#[test]
fn what_a_killed_process_left_on_its_way_goes_after_a_day() {
    let place = Place::new();
    let dir = place.vault.dir();
    for name in [".left", ".new"] {
        fs::write(dir.join(name), CODE).unwrap();
    }
    let file = fs::File::options().write(true).open(dir.join(".left")).unwrap();
    let now = fs::metadata(dir.join(".new")).unwrap().modified().unwrap();
    file.set_modified(now - std::time::Duration::from_secs(25 * 60 * 60)).unwrap();
    place.vault.keep(&place.entry, CODE).unwrap();
    assert_eq!((dir.join(".left").exists(), dir.join(".new").exists(), dir.join("key").exists()), (false, true, true));
}

#[test]
fn a_directory_that_is_swapped_while_it_is_used_is_not_met() {
    let place = Place::new();
    let dir = place.vault.dir().to_path_buf();
    let evil = Place::new();
    evil.vault.keep(&evil.entry, EVIL).unwrap();
    let aside = dir.with_file_name("aside");
    let swap: [fn(&Path, &Path); 2] =
        [|evil, dir| fs::rename(evil, dir).unwrap(), |evil, dir| symlink(evil, dir).unwrap()];
    for put in swap {
        fs::rename(&dir, &aside).unwrap();
        let theirs = evil.dir.path().join("theirs");
        fs::create_dir_all(&theirs).unwrap();
        fs::copy(evil.file(), theirs.join(place.entry.name())).unwrap();
        put(&theirs, &dir);
        assert_eq!(place.vault.take(&place.entry).unwrap().as_deref(), Some(CODE));
        place.vault.keep(&place.entry, CODE).unwrap();
        assert_eq!(
            fs::read(dir.join(place.entry.name())).unwrap(),
            fs::read(evil.file()).unwrap(),
            "nothing is written there"
        );
        if dir.is_symlink() {
            fs::remove_file(&dir).unwrap();
        } else {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::rename(&aside, &dir).unwrap();
    }
}

#[test]
fn a_hard_link_to_code_of_another_plugin_is_not_taken() {
    let place = Place::new();
    let other = entry(&engine(), "evil");
    place.vault.keep(&other, EVIL).unwrap();
    fs::remove_file(place.file()).unwrap();
    fs::hard_link(place.vault.dir().join(other.name()), place.file()).unwrap();
    place.check("a hard link", |refusal| matches!(refusal, Refusal::Foreign));
    // It was replaced, and what it was linked to is as it was.
    assert_eq!(place.vault.take(&other).unwrap().as_deref(), Some(EVIL));
}
