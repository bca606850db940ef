//! The power goes: copies of a file system that is being written hold every acknowledged commit, and without syncing do not.

use std::process::Command;

use anyhow::{Result, ensure};
use spout_tests::root;

#[test]
fn acknowledged_commits_survive_a_power_cut() -> Result<()> {
    let script = root().join("tests/power-loss.sh");
    let output = Command::new(script).arg(env!("CARGO_BIN_EXE_spout-life")).output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}{err}");
    let last = out.lines().last().unwrap_or_default();
    ensure!(output.status.success() && (last.starts_with("PASSED") || last.starts_with("SKIPPED")), "{out}{err}");
    Ok(())
}
