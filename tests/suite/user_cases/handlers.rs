//! Handlers: sums that overflow, clocks that are wrong, times before 1970. These specs bring their tests along.

use anyhow::{Result, ensure};

use super::{BOTH, trial::Trial, trial::find};

fn tested(name: &str) -> Result<()> {
    let Some(dir) = find(name) else { return Ok(()) };
    let trial = Trial::new(&dir, BOTH[0])?;
    trial.site.ok(&["test", "spec.yaml"]).map(drop)
}

#[test]
fn a_clock_in_the_future_loses_no_row() -> Result<()> {
    tested("w01-one-clock-in-the-future")
}

#[test]
fn windows_before_1970_are_windows() -> Result<()> {
    tested("w02-before-1970")
}

#[test]
fn a_sum_never_wraps() -> Result<()> {
    let Some(dir) = find("q01-sum-overflow") else { return Ok(()) };
    let trial = Trial::new(&dir, BOTH[0])?;
    let output = trial.site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() || said.contains("overflow"), "{said}");
    for (table, column) in [("q01_t", "s"), ("q01_sql_t", "s")] {
        let output = trial.site.run(&["sql", &format!("select * from {table}"), "--format", "ndjson"])?;
        let rows = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!rows.contains("446744073709551616"), "{table}.{column} wrapped: {rows}");
        ensure!(!output.status.success() || rows.contains("18000000000000000000"), "{table}: {rows}");
    }
    let sum = "select sum(bytes) as s, avg(bytes) as m from q01_raw_t";
    let rows = trial.site.ok(&["sql", sum, "--format", "ndjson"])?;
    ensure!(rows.contains("18000000000000000001"), "{rows}");
    let doubled =
        trial.site.run(&["sql", "select max(bytes) + max(bytes) as s from q01_raw_t", "--format", "ndjson"])?;
    let rows = String::from_utf8_lossy(&doubled.stdout).into_owned();
    ensure!(!rows.contains("-446744073709551616"), "{rows}");
    Ok(())
}
