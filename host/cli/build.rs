//! Link options of the binary: identical functions stand in it once.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    // Rust links with its own lld there; other linkers do not know the option.
    if target == "x86_64-unknown-linux-gnu" {
        println!("cargo:rustc-link-arg-bin=spout=-Wl,--icf=all");
    }
}
