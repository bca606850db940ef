//! This machine: limits of the process, memory, disks, and whether the kernel can harden a run.

use std::{fs, path::Path};

use rustix::{
    fs::statvfs,
    process::{Resource, getrlimit},
};

use super::Line;
use crate::{Global, harden, print::size};

/// Files that thousands of clients, partitions and objects need.
const FILES: u64 = 4096;
/// Memory below which little runs.
const MEMORY: u64 = 512 << 20;

/// How much room a disk should have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    little: u64,
    none: u64,
}

impl Room {
    /// For what is kept.
    pub(super) const DATA: Self = Self { little: 1 << 30, none: 64 << 20 };
    /// For what is gone again.
    const SCRATCH: Self = Self { little: 256 << 20, none: 16 << 20 };
}

/// What is to be said of it.
pub(super) fn look(global: &Global) -> Vec<Line> {
    let mut lines = vec![files(), memory()];
    lines.push(scratch());
    lines.push(room("disk of temporary files", &std::env::temp_dir(), Room::SCRATCH));
    lines.push(plugins(&global.plugins));
    lines.push(cache(global));
    lines.push(hardening());
    lines
}

fn files() -> Line {
    match getrlimit(Resource::Nofile).current {
        None => Line::ok("open files", "no limit"),
        Some(most) if most >= FILES => Line::ok("open files", format!("up to {most}")),
        Some(most) => Line::warning(
            "open files",
            format!("at most {most}"),
            "raise it with `ulimit -Hn`, or `LimitNOFILE=` of the service: sources of many files, clients and partitions need more",
        ),
    }
}

fn memory() -> Line {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    });
    let number = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    let group = number("memory.max").map(|most| most.saturating_sub(number("memory.current").unwrap_or_default()));
    match available.into_iter().chain(group).min() {
        None => Line::ok("memory", "the system does not say how much is free"),
        Some(free) if free >= MEMORY => Line::ok("memory", format!("{} free", size(free))),
        Some(free) => Line::warning(
            "memory",
            format!("only {} free", size(free)),
            "lower `limits.memory` and `commit.flush.bytes`, or give the process more; `spout run --memory-high SIZE` cuts commits early",
        ),
    }
}

fn scratch() -> Line {
    let dir = std::env::temp_dir();
    match tempfile::tempfile_in(&dir) {
        Ok(_) => Line::ok("temporary files", dir.display().to_string()),
        Err(error) => Line::error(
            "temporary files",
            format!("{} cannot be written: {error}", dir.display()),
            "name a directory of your own in `TMPDIR`",
        ),
    }
}

/// How much room the disk of `path` has.
pub(super) fn room(what: &str, path: &Path, room: Room) -> Line {
    let free = match statvfs(path) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Line::warning(what, format!("{}: {error}", path.display()), "check that it is mounted"),
    };
    let is = format!("{} free at {}", size(free), path.display());
    match free {
        free if free < room.none => {
            Line::error(what, is, "free some space: commits fail without it, and earlier ones stay intact")
        }
        free if free < room.little => {
            Line::warning(what, is, "free some space, or have `spout gc` remove what no rule keeps")
        }
        _ => Line::ok(what, is),
    }
}

fn plugins(dir: &Path) -> Line {
    let shown = dir.display();
    match fs::read_dir(dir) {
        Ok(entries) => {
            let wasm = |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|end| end == "wasm");
            let count = entries.filter_map(Result::ok).filter(|entry| wasm(&entry.file_name())).count();
            Line::ok("plugins", format!("{count} in {shown}; `spout plugin list` looks into each"))
        }
        Err(error) => {
            Line::warning("plugins", format!("{shown}: {error}"), "name the directory of plugins with --plugins")
        }
    }
}

fn cache(global: &Global) -> Line {
    let Some(dir) = global.cache() else {
        let advice = "name a directory of your own with --cache: without one each start compiles its plugins again";
        return Line::warning("cache of plugins", "there is no home directory", advice);
    };
    let shown = dir.display();
    let there = dir.ancestors().find(|above| above.exists()).unwrap_or(&dir);
    match rustix::fs::access(there, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Line::ok("cache of plugins", shown.to_string()),
        Err(error) => Line::warning(
            "cache of plugins",
            format!("{shown}: {error}"),
            "name a directory of your own with --cache: without one each start compiles its plugins again",
        ),
    }
}

fn hardening() -> Line {
    if harden::is_possible() {
        return Line::ok("hardening", "`--harden` can hold a run to the files and ports of its specs");
    }
    let advice = "it takes Linux 5.13 or later with `landlock` in its `lsm=`; without it, plugins are held by their sandbox alone";
    Line::warning("hardening", "this system has no landlock, so that `--harden` is refused", advice)
}
