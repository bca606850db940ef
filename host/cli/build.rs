//! Link options that make the binary smaller, where linker and loader know them: identical functions stand in it once, and
//! relocations are packed.

use std::{env, fs, path::Path, process::Command};

const OPTIONS: [&str; 2] = ["-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for option in OPTIONS {
        if works(option).unwrap_or(false) {
            println!("cargo:rustc-link-arg-bin=spout={option}");
        }
    }
}

/// Whether a program linked with `option` runs here. Rust's own lld knows both; an older loader does not know the second.
fn works(option: &str) -> Option<bool> {
    let var = |name| env::var(name).ok();
    if var("HOST")? != var("TARGET")? || var("CARGO_CFG_TARGET_OS")? != "linux" {
        return None;
    }
    let (source, program) = (Path::new(&var("OUT_DIR")?).join("probe.rs"), Path::new(&var("OUT_DIR")?).join("probe"));
    fs::write(&source, "fn main() {}").ok()?;
    let mut rustc = Command::new(var("RUSTC")?);
    let linked = rustc.arg(&source).arg("-o").arg(&program).arg(format!("-Clink-arg={option}"));
    Some(linked.output().ok()?.status.success() && Command::new(&program).status().ok()?.success())
}
