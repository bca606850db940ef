//! What Python's tarfile and GNU tar write is read as they read it themselves; so are damaged archives that both accept.

use std::{fs, path::Path, process::Command};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Found, read};

#[derive(Deserialize)]
struct Told {
    sound: bool,
    files: Option<Vec<(String, String, u64)>>,
}

/// Whether there is such a program; says so where there is none.
fn there(program: &str, test: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: {test} needs {program}");
    }
    there
}

fn run(program: &str, args: &[&str], within: &Path) {
    let status = Command::new(program).args(args).current_dir(within).status().unwrap();
    assert!(status.success(), "{program} {args:?}: {status}");
}

fn listed(found: &Found) -> Vec<(String, String, u64)> {
    let hash = |content: &[u8]| Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let files = found.archives.iter().flatten();
    files.map(|(path, content)| (path.clone(), hash(content), content.len() as u64)).collect()
}

#[tokio::test]
async fn what_tarfile_writes_is_read_as_tarfile_reads_it() {
    if !there("python3", "what_tarfile_writes_is_read_as_tarfile_reads_it") {
        return;
    }
    const COUNT: usize = 600;
    let place = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/others.py");
    let seed = std::env::var("SPOUT_SEED").unwrap_or_else(|_| "7".into());
    run("python3", &[script, place.path().to_str().unwrap(), &seed, &COUNT.to_string()], place.path());
    let mut accepted = 0;
    for number in 0..COUNT {
        let bytes = fs::read(place.path().join(format!("{number}.tar"))).unwrap();
        let told: Told =
            serde_json::from_slice(&fs::read(place.path().join(format!("{number}.json"))).unwrap()).unwrap();
        let found = read(&bytes, 4096).await;
        if told.sound {
            assert_eq!(found.fault, None, "archive {number} of seed {seed}");
            assert_eq!(listed(&found), told.files.unwrap(), "archive {number} of seed {seed}");
        } else if let (None, 1, Some(files)) = (&found.fault, found.archives.len(), told.files) {
            // Either may refuse what the other does not care for, owners and times for one, and tarfile takes that for the end
            // of the archive; what both accept is the same.
            accepted += 1;
            // An empty file whose name ends with a slash is a directory to GNU tar and to us.
            let filled =
                |files: Vec<(String, String, u64)>| files.into_iter().filter(|file| file.2 > 0).collect::<Vec<_>>();
            let (listed, files) = (filled(listed(&found)), filled(files));
            assert!(listed.starts_with(&files), "damaged archive {number} of seed {seed}: {listed:?}, not {files:?}");
        }
    }
    assert!(accepted > COUNT / 20, "{accepted} damaged archives were sound: too few to compare");
}

#[tokio::test]
async fn what_gnu_tar_writes_is_whole_again() {
    if !there("tar", "what_gnu_tar_writes_is_whole_again") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let long = format!("dir/{}/{}", "d".repeat(120), "f".repeat(140));
    fs::create_dir_all(place.path().join(&long).parent().unwrap()).unwrap();
    let mut sparse = vec![0; 3 << 20];
    (0..30).for_each(|piece| sparse[piece * 100_000..][..5].copy_from_slice(b"piece"));
    let large = (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    for (name, content) in [("dir/empty", &[][..]), (&long, b"long"), ("dir/ö", &large), ("dir/sparse", &sparse)] {
        let path = place.path().join(name);
        fs::write(&path, content).unwrap();
        run("fallocate", &["--dig-holes", path.to_str().unwrap()], place.path());
    }
    let formats: [&[&str]; 7] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ];
    for format in formats {
        run("tar", &[format, &["--sort=name", "-cf", "made.tar", "dir"]].concat(), place.path());
        let found = read(&fs::read(place.path().join("made.tar")).unwrap(), 10_240).await;
        assert_eq!(found.fault, None, "{format:?}");
        let mut files = found.archives.into_iter().flatten().collect::<Vec<_>>();
        files.sort();
        assert_eq!(files.len(), 4, "{format:?}");
        for (path, content) in files {
            assert!(content == fs::read(place.path().join(&path)).unwrap(), "{path} of {format:?}");
        }
    }
}
