//! Packs the files of the console, which are built before and committed, so that cargo needs nothing but them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzEncoder};

fn main() -> io::Result<()> {
    let built = Path::new("console/dist");
    println!("cargo::rerun-if-changed={}", built.display());
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("cargo names no OUT_DIR"))?;
    let mut files = Vec::new();
    collect(built, &mut files)?;
    files.sort();
    let mut list = String::from("[\n");
    for (number, file) in files.iter().enumerate() {
        let packed = out.join(format!("{number}.gz"));
        let mut encoder = GzEncoder::new(fs::File::open(file)?, Compression::best());
        io::copy(&mut encoder, &mut fs::File::create(&packed)?)?;
        let path = file.strip_prefix(built).map_err(io::Error::other)?;
        list += &format!("    Packed {{ path: \"/{}\", bytes: include_bytes!({packed:?}) }},\n", path.display());
    }
    list += "]\n";
    fs::write(out.join("console.rs"), list)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
