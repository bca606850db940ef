//! `spout run --harden` and `spout serve --harden`: from before its first thread on, the process has the files and ports that its
//! specs or its command line name, and no others, and makes no system calls that nobody needs.
//!
//! It is a wall behind the sandbox of plugins: whoever got out of that would be within the process, and no further. [`named`] says
//! what is needed, the kernel keeps it (landlock for files and ports, seccomp for calls), for every thread and child, for good.

#[cfg(target_os = "linux")]
mod filtered;
#[cfg(target_os = "linux")]
mod landlocked;
mod named;

use std::path::{Path, PathBuf};

use spout_base::reach::Reach;
use spout_otlp::Settings;
use spout_repo::Store;

use self::named::Named;
use super::{Global, error::Error};

/// What it takes to answer at a port.
#[derive(Debug)]
pub(super) struct Door<'a> {
    /// What is read once.
    pub(super) reads: Vec<&'a Path>,
    /// The file of its tokens, which is made anew at each change.
    pub(super) tokens: Option<&'a Path>,
    /// Where it listens.
    pub(super) listen: &'a str,
}

/// What a server needs besides its store, as far as its command line says.
#[derive(Debug)]
pub(super) struct Server<'a> {
    /// The specs that it runs.
    pub(super) specs: Vec<PathBuf>,
    /// Where it is asked.
    pub(super) door: Door<'a>,
    /// What specs that it is sent may reach, and where their paths start.
    pub(super) allowed: &'a [Reach],
    pub(super) base: &'a Path,
}

/// Takes everything from this process that a server of these things does not need. No thread may have been started.
///
/// # Errors
/// [`Error::HardenedServer`], and as [`process`].
pub(super) fn server(server: &Server<'_>, global: &Global) -> Result<(), Error> {
    if server.allowed.contains(&Reach::Commands) {
        return Err(Error::HardenedServer);
    }
    let mut named = needed(&server.specs, global)?;
    opens(&server.door, &mut named);
    named.listens_anywhere = server.allowed.contains(&Reach::Ports);
    named.connects_anywhere = server.allowed.contains(&Reach::Network);
    if server.allowed.contains(&Reach::Files) {
        named.write.insert(server.base.to_path_buf());
    }
    keep(&named, "its command line and specs name")
}

/// Takes everything from this process that a run of `specs` does not need, which answers at a `door` if there is one. No thread may
/// have been started.
///
/// # Errors
/// [`Error::HardenedCommand`], and [`Error::NotHardened`] where the system cannot do it.
pub(super) fn process(specs: &[PathBuf], door: Option<Door<'_>>, global: &Global) -> Result<(), Error> {
    let mut named = needed(specs, global)?;
    match door {
        Some(door) => {
            opens(&door, &mut named);
            keep(&named, "its command line and specs name")
        }
        None => keep(&named, "its specs name"),
    }
}

/// What it takes to answer at `door`.
fn opens(door: &Door<'_>, named: &mut Named) {
    door.reads.iter().for_each(|path| named.reads(path));
    if let Some(tokens) = door.tokens {
        named.reads_anew(tokens);
    }
    named.listens(door.listen);
}

/// Whether the system could do any of that.
pub(super) fn is_possible() -> bool {
    #[cfg(target_os = "linux")]
    return landlocked::is_there();
    #[cfg(not(target_os = "linux"))]
    false
}

/// From here on this process starts no program: all plugins are compiled.
///
/// # Errors
/// [`Error::NotHardened`].
pub(super) fn started() -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    filtered::start_nothing().map_err(|why| Error::NotHardened { why })?;
    Ok(())
}

fn needed(specs: &[PathBuf], global: &Global) -> Result<Named, Error> {
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
    named.makes(&spout_base::rendezvous::directory());
    // What is wrong with it is said by the run.
    if let Ok(Some(settings)) = Settings::read() {
        [settings.traces, settings.metrics].iter().flatten().for_each(|signal| named.collector(signal));
    }
    if let Some(cache) = global.cache() {
        named.makes(&cache);
    }
    Ok(named)
}

#[cfg(target_os = "linux")]
fn keep(named: &Named, what: &str) -> Result<(), Error> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Error::NotHardened { why: format!("{threads} threads have been started already") });
    }
    let kept = landlocked::restrict(named).map_err(|why| Error::NotHardened { why })?;
    // After it: landlock is a system call of its own.
    filtered::restrict().map_err(|why| Error::NotHardened { why })?;
    if kept.ports {
        tracing::info!("hardened: this process has the files and TCP ports that {what}, and few system calls");
    } else {
        tracing::warn!(
            "hardened by files and system calls only: this kernel cannot restrict TCP ports, which takes Linux 6.7"
        );
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn keep(_: &Named, _: &str) -> Result<(), Error> {
    Err(Error::NotHardened { why: "it takes landlock, which only Linux has".into() })
}
