//! The files source: links, rotation, rewrites, holes.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{NATIVE, Outcome, every};

/// The ids of all rows, rising.
fn ids(outcome: &Outcome) -> Vec<i64> {
    let mut ids: Vec<i64> = outcome.rows.iter().filter_map(|row| row.get("id").and_then(Value::as_i64)).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn links_are_followed_within_the_grant() -> Result<()> {
    let outcome = every("f01-symlinks", &NATIVE, |trial| {
        for name in ["current.log", "escape.log", "dangling.log"] {
            // Where links were copied as files, a file has the name that its link leads to.
            let link = trial.site.path().join("in").join(name);
            if !link.is_symlink() {
                let target = std::fs::read_to_string(&link)?;
                std::fs::remove_file(&link)?;
                std::os::unix::fs::symlink(target.trim(), &link)?;
            }
        }
        let said = trial.steps("steps.sh")?;
        ensure!(said.contains("escape.log") && said.contains("dangling.log"), "links passed over in silence: {said}");
        trial.settle("f01")
    })?;
    ensure!(outcome.is_none_or(|outcome| ids(&outcome) == [1, 2, 3]), "each once");
    Ok(())
}

#[test]
fn a_renamed_file_is_the_file_it_was() -> Result<()> {
    let outcome = every("f02-rename-rotation-wildcard", &NATIVE, |trial| {
        trial.steps("steps.sh")?;
        trial.settle("f02")
    })?;
    ensure!(outcome.is_none_or(|outcome| ids(&outcome) == [1, 2, 3, 4, 5, 6]), "each once");
    Ok(())
}

#[test]
fn a_rewritten_file_is_another_one() -> Result<()> {
    let outcome = every("f03-rewritten-with-same-beginning", &NATIVE, |trial| {
        trial.steps("steps.sh")?;
        // The banner is a column where its file is read first, and unknown where the other is.
        let mut outcome = trial.settle("f03")?;
        outcome.rows.retain(|row| row.get("id").is_some());
        Ok(outcome)
    })?;
    let Some(outcome) = outcome else { return Ok(()) };
    ensure!(ids(&outcome) == [1, 1, 2, 2, 10, 11, 12, 13, 14], "{:?}", ids(&outcome));
    Ok(())
}

#[test]
fn a_hole_of_nul_bytes_costs_no_row() -> Result<()> {
    let outcome = every("f04-nul-hole", &NATIVE, |trial| {
        trial.run()?;
        trial.settle("f04")
    })?;
    let Some(outcome) = outcome else { return Ok(()) };
    let ids = ids(&outcome);
    ensure!(ids == [1, 2, 3] || ids == [2, 3] && outcome.dead.len() == 1, "{outcome:#?}");
    let big = every("f04-nul-hole", &NATIVE[..1], |trial| {
        trial.steps("steps.sh")?;
        trial.outcome("f04b")
    })?;
    ensure!(big.is_none_or(|big| self::ids(&big).contains(&5)), "what follows a large hole is lost");
    Ok(())
}
