//! The interface of plugins is what was released, word for word but for its comments.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spout_tests::root;

use super::{files, sha256, sums};

/// What counts of a file: all but comments and white space. What they say may become better; what they are said of may not.
fn bare(wit: &str) -> String {
    let code = wit.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(str::split_whitespace).collect()
}

#[test]
fn only_comments_and_white_space_are_free() {
    let check = |changed: &str, same: bool| {
        assert_eq!(bare(changed) == bare("/// One.\nf: func(a: u32) -> bool;\n"), same, "{changed}");
    };
    check("/// Two.\n/// Lines.\n\n f: func( a: u32 )\n  -> bool; // three\n", true);
    check("f: func(a: u64) -> bool;", false);
    check("f: func(b: u32) -> bool;", false);
    check("f: func(a: u32) -> bool; g: func();", false);
    check("", false);
}

#[test]
fn the_interface_of_plugins_is_what_was_released() -> Result<()> {
    let wit = root().join("wit");
    let frozen = sums(&wit.join("frozen.sha256"))?;
    ensure!(frozen.len() >= 6, "wit/frozen.sha256 has lost lines: {frozen:?}");
    // A folder of which nothing is noted is not released yet.
    let released = |name: &str| frozen.keys().any(|noted| noted.split('/').next() == name.split('/').next());
    let mut there = files(&wit)?;
    there.retain(|name, _| name.ends_with(".wit") && released(name));
    for (name, noted) in &frozen {
        let path =
            there.remove(name).with_context(|| format!("wit/{name} was released, and is gone: bring it back"))?;
        ensure!(
            sha256(bare(&fs::read_to_string(path)?).as_bytes()) == *noted,
            "wit/{name} is not what was released, and plugins were built against that: take the change back, and make a version beside \
             it; wit/README.md says how"
        );
    }
    ensure!(there.is_empty(), "{:?} came into a folder that was released: make a version beside it", there.keys());
    Ok(())
}
