//! CSV: headers, quotes, zeros, times.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{BOTH, NATIVE, Outcome, Trial, every};

fn ran(name: &'static str) -> impl Fn(&Trial) -> Result<Outcome> {
    move |trial| {
        trial.run()?;
        trial.settle(name)
    }
}

#[test]
fn leading_zeros_stay() -> Result<()> {
    let Some(outcome) = every("c01-leading-zeros", &BOTH, ran("c01"))? else { return Ok(()) };
    let expected = [
        json!({"zip": "00501", "phone": "0049301234", "sku": "00000579000098123456", "n": 0}),
        json!({"zip": "10001", "phone": "0049301235", "sku": "00817566020096123456", "n": 7}),
        json!({"zip": "02134", "phone": "0049301236", "sku": "00000609082001123456", "n": 12}),
    ];
    ensure!(outcome.rows.len() == 3 && outcome.rows.iter().all(|row| expected.contains(row)), "{outcome:#?}");
    let later = every("c01-leading-zeros", &BOTH, |trial| {
        trial.steps("steps.sh")?;
        trial.outcome("c01b")
    })?;
    let later = later.unwrap_or(outcome);
    ensure!(later.messages() >= 3 && !later.column("zip").contains(&"2134".into()), "{later:#?}");
    ensure!(later.is_dead("02134,3", "zip") || later.column("zip").contains(&"\"02134\"".into()), "{later:#?}");
    Ok(())
}

#[test]
fn the_mark_of_excel_is_no_part_of_a_name() -> Result<()> {
    let Some(outcome) = every("c02-bom-crlf-quoted-header", &BOTH, ran("c02"))? else { return Ok(()) };
    ensure!(outcome.dead.is_empty() && outcome.rows.len() == 3, "{outcome:#?}");
    let amounts = outcome.column("Betrag");
    ensure!(amounts == ["\"1,50\"", "\"2,00\"", "\"3,00\""], "{amounts:?}");
    ensure!(outcome.column("id") == ["1", "2", "3"], "{outcome:#?}");
    let whole = every("c02-bom-crlf-quoted-header", &NATIVE, |trial| {
        trial.edit(&[("follow: false", "follow: false, whole: true")])?;
        ran("c02")(trial)
    })?;
    ensure!(whole.is_none_or(|whole| whole.rows == outcome.rows), "whole files differ: {outcome:#?}");
    Ok(())
}

#[test]
fn a_record_ends_where_its_quotes_say() -> Result<()> {
    let records = |change: (&'static str, &'static str)| {
        every("c03-multiline-field-by-lines", &NATIVE, move |trial| {
            trial.edit(&[change])?;
            ran("c03")(trial)
        })
    };
    for change in [("follow: false", "follow: false, whole: true"), ("follow: false", "follow: false, framing: csv")] {
        let Some(outcome) = records(change)? else { return Ok(()) };
        ensure!(outcome.dead.is_empty() && outcome.rows.len() == 4, "{outcome:#?}");
        let note = |reference: &str| outcome.row("ref", &json!(reference)).and_then(|row| row.get("note")).cloned();
        ensure!(note("A2") == Some(json!("first line\nsecond, line")), "{outcome:#?}");
        ensure!(note("A4") == Some(json!("ends with newline\n")), "{outcome:#?}");
    }
    Ok(())
}

#[test]
fn times_keep_their_precision() -> Result<()> {
    let outcome = every("c04-timestamps-in-seconds", &BOTH, |trial| {
        trial.steps("steps.sh")?;
        trial.settle("c04")
    })?;
    let Some(outcome) = outcome else { return Ok(()) };
    ensure!(outcome.messages() == 5, "{outcome:#?}");
    match outcome.row("id", &json!(3)) {
        Some(row) => ensure!(row.to_string().contains(".25"), "{row}"),
        None => ensure!(outcome.is_dead("12.250", "ts"), "{outcome:#?}"),
    }
    match outcome.row("id", &json!(4)) {
        Some(row) => ensure!(row.to_string().contains("01:02:03"), "{row}"),
        None => ensure!(outcome.is_dead("4,2023", "day"), "{outcome:#?}"),
    }
    Ok(())
}

#[test]
fn a_header_is_no_row_and_names_its_columns() -> Result<()> {
    let outcome = every("c05-header-again", &BOTH, |trial| {
        trial.steps("steps.sh")?;
        trial.outcome("c05")
    })?;
    let Some(outcome) = outcome else { return Ok(()) };
    for (a, b) in [(1, "x"), (2, "y"), (3, "z"), (4, "w"), (5, "v"), (7, "b"), (8, "new")] {
        ensure!(outcome.row("a", &json!(a)) == Some(&json!({"a": a, "b": b})), "{a}: {outcome:#?}");
    }
    // c.csv has its columns the other way round: by name, or set aside.
    match outcome.row("a", &json!(6)) {
        Some(row) => ensure!(row.get("b") == Some(&json!("u")), "{row}"),
        None => ensure!(outcome.is_dead("u,6", ""), "{outcome:#?}"),
    }
    ensure!(outcome.rows.iter().all(|row| row.get("a") != Some(&json!("a"))), "{outcome:#?}");
    Ok(())
}

#[test]
fn a_settled_type_holds() -> Result<()> {
    let Some(outcome) = every("c09-type-changes-late", &BOTH, ran("c09"))? else { return Ok(()) };
    for (id, big) in [(1, "14857091259186476033"), (2, "9223372036854775807"), (3, "12")] {
        let got = outcome.row("id", &json!(id)).and_then(|row| row.get("big"));
        ensure!(got.is_some_and(|got| got.to_string().trim_matches('"') == big), "{id}: {outcome:#?}");
    }
    let later = every("c09-type-changes-late", &BOTH, |trial| {
        trial.steps("steps.sh")?;
        trial.outcome("c09b")
    })?;
    let later = later.unwrap_or(outcome);
    ensure!(later.messages() == 8, "{later:#?}");
    for (message, value) in [("3,3.75", "3.75"), ("4,n/a", "n/a"), ("5,\"1,000\"", "1,000")] {
        ensure!(later.is_dead(message, value) && later.is_dead(message, "qty"), "{message}: {later:#?}");
    }
    for (id, qty) in [(1, 3), (2, 4), (6, 8), (7, 9), (8, 1000)] {
        let got = later.row("id", &json!(id)).map(|row| row.get("qty").cloned());
        ensure!(got.is_none_or(|got| got == Some(json!(qty))), "{id}: {later:#?}");
    }
    Ok(())
}
