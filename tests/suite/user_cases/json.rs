//! JSON: numbers, types that change, what is malformed.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{BOTH, Outcome, Trial, every};

fn ran(name: &'static str) -> impl Fn(&Trial) -> Result<Outcome> {
    move |trial| {
        trial.run()?;
        trial.settle(name)
    }
}

fn stepped(name: &'static str) -> impl Fn(&Trial) -> Result<Outcome> {
    move |trial| {
        trial.steps("steps.sh")?;
        trial.settle(name)
    }
}

#[test]
fn an_integer_column_never_cuts_a_fraction() -> Result<()> {
    let Some(outcome) = every("j01-int-then-fraction", &BOTH, stepped("j01"))? else { return Ok(()) };
    ensure!(outcome.messages() == 9, "{outcome:#?}");
    for id in [1, 2, 5, 6, 9] {
        let temp = [(1, 20), (2, 21), (5, 1000), (6, 4), (9, 9_007_199_254_740_993_i64)];
        let expected = temp.iter().find(|(known, _)| *known == id).map(|(_, temp)| *temp);
        let got = outcome.row("id", &json!(id)).and_then(|row| row.get("temp")?.as_i64());
        ensure!(got == expected, "{id}: {got:?}");
    }
    for (message, value) in [("21.7", "21.7"), ("\"22\"", "22"), ("-0.9", "-0.9"), ("\"x\"", "x")] {
        ensure!(outcome.is_dead(message, value) && outcome.is_dead(message, "temp"), "{message}: {outcome:#?}");
    }
    ensure!(outcome.dead.iter().all(|(_, code, _)| code == "json.type"), "{outcome:#?}");
    Ok(())
}

#[test]
fn large_ids_keep_their_digits() -> Result<()> {
    let exact = |id: &str, outcome: &Outcome, n: &str| {
        let row = outcome.row("n", &json!(n));
        let got = row.and_then(|row| row.get("id")).map(|id| id.to_string().trim_matches('"').to_owned());
        ensure!(got.as_deref() == Some(id) || outcome.is_dead(id, "id"), "{n}: {got:?} {outcome:#?}");
        Ok(())
    };
    // As texts: what reads JSON here would round them.
    let ran = |_: &str| {
        |trial: &Trial| {
            trial.run()?;
            let mut outcome = trial.settle("j02")?;
            let rows = trial.site.rows("select cast(id as text) as id, n from j02_t order by n", None)?;
            outcome.rows = rows.iter().map(|row| serde_json::from_str(row)).collect::<Result<_, _>>()?;
            Ok(outcome)
        }
    };
    let Some(outcome) = every("j02-beyond-i64", &BOTH[..1], ran("j02"))? else { return Ok(()) };
    ensure!(outcome.messages() == 5, "{outcome:#?}");
    exact("18446744073709551615", &outcome, "u64max")?;
    exact("9223372036854775808", &outcome, "i64max+1")?;
    exact("9007199254740993", &outcome, "2^53+1")?;
    exact("1", &outcome, "one")?;
    exact("2942420318599003496251392", &outcome, "25 digits")?;
    let plugin = every("j02-beyond-i64", &BOTH[2..3], ran("j02"))?;
    ensure!(plugin.as_ref() == Some(&outcome), "native and plugin differ: {plugin:#?}");
    let beside = every("j02-beyond-i64", &BOTH[..1], |trial| {
        trial.edit(&[("./in}", "./in-b}")])?;
        ran("j02")(trial)
    })?;
    exact("9007199254740993", &beside.unwrap_or(outcome), "2^53+1")
}

#[test]
fn what_is_empty_at_first_refuses_nothing_later() -> Result<()> {
    let Some(outcome) = every("j03-empty-and-null-first", &BOTH, stepped("j03"))? else { return Ok(()) };
    ensure!(outcome.messages() == 5 && outcome.rows.len() >= 2, "{outcome:#?}");
    for (id, meta) in [(1, "{}"), (2, "{}"), (3, r#"{"a":1}"#), (4, "{}")] {
        match outcome.row("id", &json!(id)) {
            Some(row) => ensure!(row.get("meta") == Some(&json!(meta)), "{row}"),
            None => ensure!(id > 2 && outcome.is_dead(&format!("\"id\":{id}"), "meta"), "{id}: {outcome:#?}"),
        }
    }
    ensure!(
        outcome.row("id", &json!(5)).is_none_or(|row| row.get("meta").is_none()),
        "null is no object: {outcome:#?}"
    );
    Ok(())
}

#[test]
fn malformed_is_malformed_whatever_stands_beside_it() -> Result<()> {
    let of = |dir: &'static str| {
        every("j04-malformed-accepted", &BOTH, move |trial| {
            trial.edit(&[("./alone", &format!("./{dir}"))])?;
            ran("j04")(trial)
        })
    };
    let (Some(alone), Some(beside)) = (of("alone")?, of("beside-garbage")?) else { return Ok(()) };
    ensure!(alone.column("b") == ["\"ok1\"", "\"ok2\""] && alone.dead.len() == 9, "{alone:#?}");
    ensure!(beside.rows == alone.rows && beside.dead.len() == 10, "{beside:#?}");
    ensure!(alone.dead.iter().all(|(_, code, _)| code == "json.syntax"), "{alone:#?}");
    let (Some(alone), Some(beside)) = (of("only-tolerated")?, of("only-tolerated-beside-garbage")?) else {
        return Ok(());
    };
    ensure!(alone.rows == beside.rows && alone.dead.len() == 4 && beside.dead.len() == 5, "{alone:#?} {beside:#?}");
    Ok(())
}

#[test]
fn control_characters_are_refused_and_come_out_escaped() -> Result<()> {
    let Some(outcome) = every("j05-control-characters", &BOTH, ran("j05"))? else { return Ok(()) };
    ensure!(outcome.column("id") == ["1", "5"] && outcome.dead.len() == 3, "{outcome:#?}");
    ensure!(outcome.column("m") == [r#""plain \t escaped""#, r#""escaped \u0000 nul""#], "{outcome:#?}");
    let beside = every("j05-control-characters", &BOTH, |trial| {
        trial.edit(&[("./in}", "./in-b}"), ("path: /t/", "path: /t/, format: ndjson")])?;
        ran("j05")(trial)
    })?;
    let beside = beside.unwrap_or_else(|| outcome.clone());
    ensure!(beside.rows == outcome.rows && beside.dead.len() == 4, "{beside:#?}");
    Ok(())
}

#[test]
fn half_a_surrogate_is_set_aside() -> Result<()> {
    let Some(outcome) = every("j06-lone-surrogates", &BOTH, ran("j06"))? else { return Ok(()) };
    ensure!(outcome.column("id") == ["3", "5"] && outcome.dead.len() == 3, "{outcome:#?}");
    ensure!(outcome.column("m") == ["\"ok 😀\"", "\"after 🚀 text\""], "{outcome:#?}");
    let codes: Vec<&str> = outcome.dead.iter().map(|(_, code, _)| code.as_str()).collect();
    ensure!(codes.windows(2).all(|pair| pair[0] == pair[1]), "{codes:?}");
    Ok(())
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_message() -> Result<()> {
    let Some(outcome) = every("j07-bom-ndjson", &BOTH, ran("j07"))? else { return Ok(()) };
    ensure!(outcome.column("id") == ["1", "2", "3", "4", "5", "6"] && outcome.dead.is_empty(), "{outcome:#?}");
    Ok(())
}

#[test]
fn keys_that_differ_by_case_are_two_columns() -> Result<()> {
    let Some(outcome) = every("j10-keys-by-case", &BOTH, ran("j10"))? else { return Ok(()) };
    let expected = [
        json!({"id": "low-1", "Id": "UP-1", "UserUPN": "ann@x"}),
        json!({"id": "low-2", "Id": "UP-2", "UserUpn": "bob@x"}),
    ];
    ensure!(outcome.dead.is_empty() && outcome.rows.iter().all(|row| expected.contains(row)), "{outcome:#?}");
    ensure!(outcome.rows.len() == 2, "{outcome:#?}");
    Ok(())
}

#[test]
fn a_late_key_is_noticed() -> Result<()> {
    let outcome = every("j11-late-key", &BOTH, |trial| {
        let said = trial.steps("steps.sh")?;
        ensure!(said.contains("price") && said.contains("actor.team"), "{:?}: {said}", trial.variant);
        let commit = trial.site.ok(&["inspect", "commit", "j11@master"])?;
        ensure!(commit.contains("price") && commit.contains("actor.team"), "{commit}");
        trial.settle("j11")
    })?;
    let Some(outcome) = outcome else { return Ok(()) };
    ensure!(outcome.rows.len() == 2 && outcome.dead.is_empty(), "{outcome:#?}");
    let failing = every("j11-late-key", &BOTH[..2], |trial| {
        trial.edit(&[("type: json", "type: json, unknown: fail")])?;
        stepped("j11")(trial)
    })?;
    let failing = failing.unwrap_or(outcome);
    ensure!(failing.rows.len() == 1 && failing.dead.len() == 1, "{failing:#?}");
    Ok(())
}
