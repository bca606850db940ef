//! Syslog, Influx, Graphite and Avro.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{NATIVE, Outcome, Trial, every, trial::find};

fn ran(name: &'static str) -> impl Fn(&Trial) -> Result<Outcome> {
    move |trial| {
        trial.run()?;
        trial.settle(name)
    }
}

fn find_row<'a>(outcome: &'a Outcome, column: &str, value: &Value) -> Result<&'a Value> {
    outcome.row(column, value).with_context(|| format!("no row with {column} = {value}: {outcome:#?}"))
}

#[test]
fn a_plain_var_log_syslog_is_read_with_its_times() -> Result<()> {
    let Some(outcome) = every("s01-var-log-syslog", &NATIVE, ran("s01"))? else { return Ok(()) };
    ensure!(outcome.rows.len() == 4 && outcome.dead.is_empty(), "{outcome:#?}");
    for (app, pid, message) in [
        ("auditd", Some("38707"), "Audit daemon rotating log files"),
        ("CRON", Some("27153"), "(root) CMD (test -x /usr/sbin/anacron)"),
        ("kernel", None, "[12345.678901] eth0: link up"),
        ("systemd", Some("1"), "Started Daily apt activities."),
    ] {
        let row = find_row(&outcome, "appname", &json!(app))?;
        ensure!(row.get("hostname") == Some(&json!("node-01")) && row.get("message") == Some(&json!(message)), "{row}");
        ensure!(row.get("procid").and_then(Value::as_str) == pid, "{row}");
        let time = row.get("timestamp").map(ToString::to_string).unwrap_or_default();
        ensure!(time.contains("-12-08T16:48:1") || time.contains("-12-08 16:48:1"), "{row}");
        ensure!(row.get("severity").is_none() && row.get("facility").is_none(), "{row}");
    }
    Ok(())
}

#[test]
fn odd_senders_are_read_or_set_aside_whole() -> Result<()> {
    let Some(outcome) = every("s03-odd-senders", &NATIVE, ran("s03"))? else { return Ok(()) };
    ensure!(outcome.messages() == 10, "{outcome:#?}");
    let bracket = find_row(&outcome, "appname", &json!("apache_error"))?;
    let message = "[Mon Jun 07 11:54:08 2021] [error] client denied";
    ensure!(bracket.get("message") == Some(&json!(message)) && bracket.get("structured_data").is_none(), "{bracket}");
    let host = find_row(&outcome, "hostname", &json!("2600:db8:2::"))?;
    ensure!(host.get("appname") == Some(&json!("app")), "{host}");
    for text in ["User logged into the appliance. User: ann.", "Network link has gone down on interface 1."] {
        let row = outcome.row("message", &json!(text));
        ensure!(row.is_none_or(|row| row.get("hostname").is_none()), "{row:?}");
        ensure!(row.is_some() || outcome.is_dead(text, ""), "{text}: {outcome:#?}");
    }
    ensure!(outcome.rows.iter().all(|row| row.get("hostname") != Some(&json!("ZscalerNSS:"))), "{outcome:#?}");
    Ok(())
}

#[test]
fn backslashes_are_what_the_line_protocol_says() -> Result<()> {
    let Some(outcome) = every("i01-backslashes", &NATIVE, ran("i01"))? else { return Ok(()) };
    ensure!(outcome.messages() == 8, "{outcome:#?}");
    ensure!(find_row(&outcome, "check", &json!("C:\\Windows"))?.get("value") == Some(&json!(1.0)), "{outcome:#?}");
    ensure!(find_row(&outcome, "regions", &json!("east,west"))?.get("value") == Some(&json!(2.0)), "{outcome:#?}");
    ensure!(find_row(&outcome, "name", &json!("a b"))?.get("expr") == Some(&json!("k=v")), "{outcome:#?}");
    ensure!(outcome.is_dead("C:\\,host=web", ""), "{outcome:#?}");
    let log = find_row(&outcome, "path", &json!("C:\\temp"))?;
    ensure!(log.get("say") == Some(&json!("say \"hi\"")) && log.get("raw") == Some(&json!("C:\\temp")), "{log}");
    find_row(&outcome, "measurement", &json!("my,m x"))?;
    ensure!(outcome.is_dead("ends-with-", ""), "{outcome:#?}");
    Ok(())
}

#[test]
fn one_name_twice_overwrites_nothing() -> Result<()> {
    let Some(outcome) = every("i02-same-name-twice", &NATIVE, ran("i02"))? else { return Ok(()) };
    ensure!(outcome.messages() == 9, "{outcome:#?}");
    ensure!(find_row(&outcome, "measurement", &json!("ok"))?.get("v") == Some(&json!(6.0)), "{outcome:#?}");
    ensure!(outcome.is_dead("A=1,A=2", "A"), "{outcome:#?}");
    ensure!(outcome.rows.iter().all(|row| row.get("measurement") != Some(&json!("x"))), "{outcome:#?}");
    Ok(())
}

#[test]
fn counters_and_negative_times_are_exact() -> Result<()> {
    let Some(outcome) = every("i04-time-and-counters-in-delta", &NATIVE, ran("i04"))? else { return Ok(()) };
    ensure!(outcome.messages() == 4, "{outcome:#?}");
    let all = outcome.rows.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    ensure!(all.contains("9007199254740993") && all.contains("18446744073709551615"), "{all}");
    ensure!(all.contains("1969-12-31T23:59:59.999999999"), "{all}");
    Ok(())
}

#[test]
fn the_mark_is_stripped_from_lines_too() -> Result<()> {
    let Some(dir) = find("j07-bom-ndjson") else { return Ok(()) };
    for (file, decoder, column, value) in [
        ("d.log", "influx", "measurement", "cpu"),
        ("e.log", "graphite", "measurement", "servers.a.cpu"),
        ("f.log", "syslog", "facility", "auth"),
    ] {
        let trial = Trial::new(&dir, NATIVE[0])?;
        trial.edit(&[("./in}", "./other}"), ("\"*\"", &format!("\"{file}\"")), ("json", decoder)])?;
        let outcome = ran("j07")(&trial)?;
        ensure!(
            outcome.dead.is_empty() && outcome.column(column) == [json!(value).to_string()],
            "{file}: {outcome:#?}"
        );
    }
    Ok(())
}

#[test]
fn an_avro_schema_that_no_column_holds_costs_its_own_file_alone() -> Result<()> {
    let Some(dir) = find("a01-schemas-no-column-can-hold") else { return Ok(()) };
    let alone = {
        let trial = Trial::new(&dir, NATIVE[0])?;
        ran("a01")(&trial)?
    };
    ensure!(!alone.rows.is_empty() && alone.dead.is_empty(), "{alone:#?}");
    for bad in ["recursive", "multi", "single"] {
        let trial = Trial::new(&dir, NATIVE[0])?;
        // The good file settles the columns; which of two would do it first is chance.
        trial.run()?;
        fs::copy(dir.join(format!("bad/{bad}.avro")), trial.site.path().join(format!("in/{bad}.avro")))?;
        let outcome = ran("a01")(&trial)?;
        let kept = alone.rows.iter().all(|row| {
            let fields = row.as_object().into_iter().flatten();
            outcome.rows.iter().any(|other| fields.clone().all(|(name, value)| other.get(name) == Some(value)))
        });
        ensure!(kept, "{bad}: the rows of the good file are gone: {outcome:#?}");
        ensure!(
            outcome.rows.len() > alone.rows.len() || !outcome.dead.is_empty(),
            "{bad}: nothing is said: {outcome:#?}"
        );
    }
    Ok(())
}
