//! A guest that got out of its sandbox, in a process that is hardened: what the host's own code is made to do comes to nothing.
//!
//! The binary is the one that users run. `support/escape.c` is loaded into it, and does its deeds in the thread of the host that
//! passes on a certain line of the guest's.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests, root};
use tempfile::TempDir;

const EPERM: i32 = 1;
const EACCES: i32 = 13;

/// A place for a run with the hostile guest, and one that lies outside of everything that is granted.
struct Place {
    site: Site,
    outside: TempDir,
    listener: TcpListener,
    library: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let mut site = Site::new()?;
        let hostile = fs::read(guests().join("hostile.wasm")).context("`just guests` builds the guests")?;
        site.write("plugins/hostile.wasm", hostile)?;
        site.plugins = site.path().join("plugins");
        site.write(
            "spec.yaml",
            "pipeline: {name: trial}
producer:
  stream: {plugin: hostile, topic: t, settings: {mode: out, call: fetch}}
  decoder: {type: json}
limits: {call: 60s}
",
        )?;
        let library = site.path().join("escape.so");
        let source = root().join("tests/support/escape.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        ensure!(built.context("`cc` links Rust, too")?.success(), "{} does not compile", source.display());
        // Temporary directories may be written by hardened processes, too.
        let outside = tempfile::tempdir_in(guests())?;
        fs::write(outside.path().join("secret"), "secret")?;
        Ok(Self { site, outside, listener: TcpListener::bind("127.0.0.1:0")?, library })
    }

    /// Runs `spout ARGS` until the guest is out, and has done what it can; the error of each deed, 0 for one that was done.
    fn escaped(&self, args: &[&str]) -> Result<BTreeMap<String, i32>> {
        let at = |name: &str| self.outside.path().join(name).display().to_string();
        let port = self.listener.local_addr()?.port();
        let told = format!("{} {} {port} {}", at("secret"), at("made"), std::process::id());
        let mut command = self.site.command(args);
        command.env("LD_PRELOAD", &self.library).env("SPOUT_TEST_ESCAPE", told);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = BufReader::new(child.stderr.take().context("standard error")?);
        let (mut deeds, mut all) = (BTreeMap::new(), String::new());
        for line in said.lines() {
            let line = line?;
            all.push_str(&line);
            all.push('\n');
            if let Some((name, error)) = line.strip_prefix("escaped ").and_then(|deed| deed.split_once(' ')) {
                deeds.insert(name.to_owned(), error.parse()?);
            }
            if deeds.contains_key("over") {
                drop(child.kill());
                break;
            }
        }
        child.wait()?;
        ensure!(deeds.remove("over").is_some(), "it did not get so far:\n{all}");
        Ok(deeds)
    }

    /// Whether this kernel can do it, and that what is said of it is true.
    fn check(&self, args: &[&str], may_start_itself: bool) -> Result<()> {
        let free = self.escaped(args)?;
        let abi = free["abi"];
        for deed in ["read", "make", "connect", "listen", "signal", "traced", "program", "itself"] {
            ensure!(free[deed] == 0, "a process that is not hardened does not do it either: {deed}, {free:?}");
        }
        ensure!(free.iter().filter(|(_, error)| **error == EPERM).count() < free.len() / 2, "{free:?}");
        if abi < 4 {
            eprintln!("skipped: this kernel has landlock {abi}, which knows no ports");
            return Ok(());
        }
        let held = self.escaped(&args.iter().copied().chain(["--harden"]).collect::<Vec<_>>())?;
        for deed in ["read", "make", "list", "connect", "listen"] {
            ensure!(held[deed] == EACCES, "{deed} in a hardened process: {held:?}");
        }
        ensure!(held["signal"] == if abi < 6 { 0 } else { EPERM }, "{held:?}");
        ensure!([EPERM, EACCES].contains(&held["program"]), "it runs a program: {held:?}");
        ensure!(held["itself"] == if may_start_itself { 0 } else { EPERM }, "it runs itself: {held:?}");
        for (deed, error) in held.iter().filter(|(deed, _)| deed.starts_with("call-")) {
            ensure!(*error == EPERM, "{deed} in a hardened process: {held:?}");
        }
        ensure!(held["traced"] == EPERM && held["crypto-socket"] == EPERM, "{held:?}");
        Ok(())
    }
}

#[test]
fn a_guest_that_got_out_of_a_hardened_run_reaches_nothing() -> Result<()> {
    Place::new()?.check(&["run", "spec.yaml"], false)
}

#[test]
fn a_guest_that_got_out_of_a_hardened_server_reaches_nothing() -> Result<()> {
    let mut place = Place::new()?;
    // Plugins are compiled while it runs, by a process of its own.
    place.site.environment.push(("SPOUT_CACHE", place.site.path().join("cache").display().to_string()));
    let port = free_port()?;
    place.check(&["serve", "spec.yaml", "--listen", &format!("127.0.0.1:{port}")], true)
}

/// A port that the system does not give to anybody soon.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
