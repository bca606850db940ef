//! `spout run --harden`: from before its first thread on, the process has the files and ports that its specs name, and no others.
//!
//! It is a wall behind the sandbox of plugins: whoever got out of that would be within the process, and no further. [`named`] says
//! what is needed, the kernel keeps it (landlock), for every thread and child, for good.

#[cfg(target_os = "linux")]
mod landlocked;
mod named;

use std::path::PathBuf;

use spout_repo::Store;

use self::named::Named;
use super::{Global, error::Error};

/// Takes everything from this process that a run of `specs` does not need. No thread may have been started.
///
/// # Errors
/// [`Error::HardenedCommand`], and [`Error::NotHardened`] where the system cannot do it.
pub(super) fn process(specs: &[PathBuf], global: &Global) -> Result<(), Error> {
    // What is wrong with a spec is said by the run.
    let (loaded, _) = spout_spec::load_every(specs);
    if let Some(trusted) = loaded.iter().find(|loaded| named::trusts(loaded)) {
        return Err(Error::HardenedCommand { pipeline: trusted.spec.pipeline.name.clone() });
    }
    let mut named = Named::of_host();
    specs.iter().for_each(|spec| named.reads(spec));
    loaded.iter().for_each(|loaded| named.add(loaded));
    named.reads(&global.plugins);
    match Store::local(&global.store) {
        Some(dir) => named.makes(&dir),
        None => named.bucket(&global.store),
    }
    if let Some(cache) = global.cache() {
        named.makes(&cache);
    }
    keep(&named)
}

#[cfg(target_os = "linux")]
fn keep(named: &Named) -> Result<(), Error> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Error::NotHardened { why: format!("{threads} threads have been started already") });
    }
    match landlocked::restrict(named) {
        Ok(landlocked::Kept { ports: true }) => {
            tracing::info!("hardened: this process has the files and TCP ports that its specs name");
            Ok(())
        }
        Ok(_) => {
            tracing::warn!("hardened by files only: this kernel cannot restrict TCP ports, which takes Linux 6.7");
            Ok(())
        }
        Err(why) => Err(Error::NotHardened { why }),
    }
}

#[cfg(not(target_os = "linux"))]
fn keep(_: &Named) -> Result<(), Error> {
    Err(Error::NotHardened { why: "it takes landlock, which only Linux has".into() })
}
