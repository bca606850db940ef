//! What was released and is frozen: the interface of plugins, plugins that were built against it, and a store as it was written then.
//!
//! None of it is made anew here. `tests/fixtures/v0.1/README.md` says how it came to be.

mod plugins;
mod stores;
mod wit;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use spout_tests::{Site, root};

/// Plugins that are not of the host.
const PLUGINS: [&str; 8] =
    ["driven", "kernels", "marked-c", "network", "per-minute-c", "scripted", "sessions", "several"];

/// Where all of it is.
fn folder() -> PathBuf {
    root().join("tests/fixtures/v0.1")
}

/// A fixture that is packed.
fn unpacked(name: &str) -> Result<Vec<u8>> {
    let file = fs::File::open(folder().join(name)).with_context(|| name.to_owned())?;
    zstd::decode_all(file).with_context(|| name.to_owned())
}

/// The files of an archive, put into a folder.
fn unpack(archive: &str, into: &Path) -> Result<()> {
    let mut tar = Command::new("tar").arg("-xC").arg(into).stdin(Stdio::piped()).spawn()?;
    tar.stdin.take().context("a pipe")?.write_all(&unpacked(archive)?)?;
    ensure!(tar.wait()?.success(), "{archive} is not unpacked");
    Ok(())
}

/// A place with all of [`PLUGINS`], and those of the host that are named.
fn site(of_today: &[&str]) -> Result<Site> {
    let mut site = Site::new()?;
    unpack("plugins.tar.zst", site.path())?;
    for name in of_today {
        let file = format!("plugins/{name}.wasm");
        site.write(&file, fs::read(root().join(&file)).context("`just plugins` builds it")?)?;
    }
    site.plugins = site.path().join("plugins");
    Ok(site)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines of hashes and names, as `sha256sum` prints them: by name.
fn sums(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().map(|line| line.split_once("  ").with_context(|| format!("not a hash: {line}")));
    lines.map(|line| line.map(|(sum, name)| (name.to_owned(), sum.to_owned()))).collect()
}

/// The files below a folder, by their path from there.
fn files(below: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![below.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(below)?.display().to_string(), path);
            }
        }
    }
    Ok(found)
}

#[test]
fn fixtures_are_as_they_were_made() -> Result<()> {
    let mut there = files(&folder())?;
    // How they came to be may be told better; what is told of may not change.
    there.retain(|name, _| !["README.md", "SHA256SUMS"].contains(&name.as_str()));
    there.retain(|name, _| ![".sh", ".py"].iter().any(|ending| name.ends_with(ending)));
    let noted = sums(&folder().join("SHA256SUMS"))?;
    ensure!(noted.keys().eq(there.keys()), "SHA256SUMS names {:?}, and there are {:?}", noted.keys(), there.keys());
    for (name, path) in there {
        ensure!(
            noted.get(&name) == Some(&sha256(&fs::read(path)?)),
            "tests/fixtures/v0.1/{name} is not what was released: take the change back. What is new gets a folder beside it"
        );
    }
    Ok(())
}
