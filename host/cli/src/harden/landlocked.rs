//! The kernel's part: rules of landlock for files and TCP ports, and no new privileges.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::named::Named;

/// Rights that are taken away where they are not given: all that this version knows. Older kernels take fewer.
const KNOWN: ABI = ABI::V5;
/// Signals to others, and sockets that have a name and no file: taken away by kernels since 6.12.
const SCOPED: ABI = ABI::V6;

/// What is kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// TCP ports too, besides files.
    pub(super) ports: bool,
}

/// Whether this kernel has it at all.
pub(super) fn is_there() -> bool {
    let needed = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    needed.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// Restricts this thread, and those that it starts, to what is named.
///
/// # Errors
/// Why nothing could be restricted.
pub(super) fn restrict(named: &Named) -> Result<Kept, String> {
    let said = |error: RulesetError| error.to_string();
    let mut net = AccessNet::BindTcp | AccessNet::ConnectTcp;
    // Asked for alone, so that a kernel which knows no ports is told from one that does.
    let ports = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(net).is_ok();
    if named.listens_anywhere {
        net.remove(AccessNet::BindTcp);
    }
    if named.connects_anywhere {
        net.remove(AccessNet::ConnectTcp);
    }
    let mut handled = Ruleset::default().handle_access(AccessFs::from_all(KNOWN)).map_err(said)?;
    if !net.is_empty() {
        handled = handled.handle_access(net).map_err(said)?;
    }
    let mut rules = handled.scope(Scope::from_all(SCOPED)).and_then(Ruleset::create).map_err(said)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for path in &named.read {
        rules = allow(rules, path, read).map_err(said)?;
    }
    for path in &named.run {
        rules = allow(rules, path, read | AccessFs::Execute).map_err(said)?;
    }
    for path in &named.write {
        rules = allow(rules, path, AccessFs::from_all(KNOWN) & !AccessFs::Execute).map_err(said)?;
    }
    for port in named.ports.iter().filter(|_| !net.is_empty()) {
        rules = rules.add_rule(NetPort::new(*port, net)).map_err(said)?;
    }
    let status = rules.restrict_self().map_err(said)?;
    if !status.no_new_privs {
        return Err("the system lets this process gain privileges".into());
    }
    match status.ruleset {
        RulesetStatus::NotEnforced => {
            Err("this kernel has no landlock, or it is switched off; it takes Linux 5.13, and `landlock` in its `lsm=`"
                .into())
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(Kept { ports }),
    }
}

/// Gives `rights` to what is at `path`, and below it; what is not there needs none.
fn allow(rules: RulesetCreated, path: &Path, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(rules) };
    let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(place, rights))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::ErrorKind,
        net::{TcpListener, TcpStream},
        process::Command,
    };

    use super::*;

    /// Runs `deeds` in a thread that is hardened; none where this kernel cannot.
    fn hardened<T: Send + 'static>(named: Named, deeds: impl FnOnce(&Kept) -> T + Send + 'static) -> Option<T> {
        let thread = std::thread::spawn(move || match restrict(&named) {
            Ok(kept) => Some(deeds(&kept)),
            Err(why) => {
                eprintln!("skipped: {why}");
                None
            }
        });
        thread.join().unwrap()
    }

    /// What a guest would do that got out of its sandbox, in host code of the process.
    #[test]
    fn a_hardened_process_reads_and_writes_only_what_is_allowed() {
        let place = tempfile::tempdir().unwrap();
        let dir = |name: &str| place.path().join(name);
        for name in ["store", "input", "home"] {
            fs::create_dir(dir(name)).unwrap();
            fs::write(dir(name).join("file"), name).unwrap();
        }
        std::os::unix::fs::symlink(dir("home/file"), dir("store/link")).unwrap();
        let (open, closed) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let [open, closed] = [open, closed].map(|listener| (listener.local_addr().unwrap(), listener));
        let mut named = Named::default();
        named.reads(&dir("input"));
        named.makes(&dir("store"));
        named.ports.insert(open.0.port());
        let (store, input, home) = (dir("store"), dir("input"), dir("home"));
        let (to_open, to_closed) = (open.0, closed.0);
        let checked = hardened(named, move |kept| {
            assert_eq!(fs::read_to_string(input.join("file")).unwrap(), "input");
            fs::write(store.join("new"), "x").unwrap();
            fs::create_dir(store.join("deep")).unwrap();
            fs::rename(store.join("new"), store.join("deep/old")).unwrap();
            fs::remove_file(store.join("deep/old")).unwrap();
            let denied = |what: &str, done: std::io::Result<()>| {
                let kind = done.err().map(|error| error.kind());
                assert_eq!(kind, Some(ErrorKind::PermissionDenied), "{what}");
            };
            denied("read a file", fs::read(home.join("file")).map(drop));
            denied("read one by a link", fs::read(store.join("link")).map(drop));
            denied("list a directory", fs::read_dir(&home).map(drop));
            denied("read the accounts", fs::read("/etc/passwd").map(drop));
            denied("read the environment of another", fs::read("/proc/1/environ").map(drop));
            denied("write", fs::write(home.join("file"), "gone"));
            denied("write where it may read", fs::write(input.join("file"), "gone"));
            denied("make a file", fs::write(home.join("new"), ""));
            denied("remove", fs::remove_file(home.join("file")));
            denied("rename", fs::rename(store.join("link"), home.join("link")));
            denied("run a program", Command::new("/bin/sh").args(["-c", "true"]).status().map(drop));
            if kept.ports {
                denied("connect", TcpStream::connect(to_closed).map(drop));
                denied("listen", TcpListener::bind("127.0.0.1:0").map(drop));
                assert!(TcpStream::connect(to_open).is_ok());
            }
        });
        assert_eq!(fs::read_to_string(dir("home/file")).unwrap(), "home");
        // Nobody else of the process is held to it.
        assert!(checked.is_none() || fs::read("/proc/self/stat").is_ok());
        drop((open, closed));
    }
}
