//! What tables can have and what can happen to them.

use anyhow::{Result, ensure};
use serde_json::Value;
use spout_tests::{Site, postgres::Postgres};

use super::{Message, QUICK, messages, place, read_all, replay, same, spec, truth};

/// What happens to rows while a part of them was read and no host runs.
#[test]
fn rows_on_both_sides_of_the_last_one_read_change() -> Result<()> {
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    server.sql(&[
        "create table t (id int primary key, v text)",
        "alter table t alter column v set storage external",
        "insert into t select i * 10, 'row' from generate_series(1, 3000) i",
        "update t set v = repeat('large', 30000) where id in (20000, 25000)",
        "create table before (id int primary key)",
        "create table unread (id int primary key)",
        "create publication pub for all tables",
    ])?;
    let site = Site::new()?;
    // A row that is too large is as good as a kill, and does not depend on how fast anything is.
    let fetch = "timeout: 100ms, messages: 100";
    site.write("spec.yaml", spec(&server, ", maxMessage: 65536", fetch, "commit: {flush: {rows: 100, time: 50ms}}"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["postgres.too-large", "`maxMessage`"])?;
    let last = place(&site)?["rest"]["after"]["key"][0][1].as_str().and_then(|id| id.parse::<u64>().ok());
    ensure!(last.is_some_and(|last| (1000..20_000).contains(&last)), "{last:?} was read last");
    site.write("spec.yaml", spec(&server, "", fetch, QUICK))?;
    server.sql(&[
        "update t set v = 'changed' where id in (10, 25010)",
        "update t set id = 1, v = v where id = 25000",
        "update t set id = 30001 where id = 20",
        "update t set id = 31 where id = 30",
        "update t set id = 29991 where id = 29990",
        "delete from t where id in (40, 25020)",
        "insert into t values (2, 'new'), (30002, 'new')",
        "insert into t values (3, 'for a moment'), (30003, 'for a moment')",
        "delete from t where id in (3, 30003)",
        "begin; delete from t where id = 50; rollback",
        "insert into before values (1)",
        "insert into unread values (1)",
    ])?;
    read_all(&site)?;
    let all = messages(&site)?;
    same(
        &replay(&all)?,
        &[truth(&server, "t", "id, v")?, truth(&server, "before", "id")?, truth(&server, "unread", "id")?]
            .into_iter()
            .flatten()
            .collect(),
    )?;
    let changes = all.iter().filter(|message| message.op() != "r");
    let told: Vec<_> = changes
        .map(|change| format!("{} {}>{}", change.op(), change.value["before"]["id"], change.value["after"]["id"]))
        .collect();
    let expected =
        ["u null>10", "c null>1", "d 20>null", "u 30>31", "d 40>null", "c null>2", "c null>3", "d 3>null", "c null>1"];
    ensure!(told == expected, "{told:?}");
    ensure!(all.iter().all(|message| message.value["unchanged"].is_null()), "a large value is missing");
    Ok(())
}

/// The server compares keys, by their types and collations: a program would have `Z` before `a`.
#[test]
fn keys_are_compared_as_the_server_does() -> Result<()> {
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    server.sql(&[
        "create table words (word text collate \"en-x-icu\", n int, id int, v text, primary key (word, n))",
        "insert into words select chr(65 + i % 26 + 32 * (i / 26 % 2)), i, i, '' from generate_series(0, 2599) i",
        "update words set v = repeat('x', 200000) where id = (select min(id) from words where word = 'm')",
        "create publication pub for table words",
    ])?;
    let site = Site::new()?;
    let fetch = "timeout: 100ms, messages: 100";
    site.write("spec.yaml", spec(&server, ", maxMessage: 65536", fetch, "commit: {flush: {rows: 100, time: 50ms}}"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["postgres.too-large"])?;
    let last = place(&site)?["rest"]["after"]["key"][0][1].to_string().to_lowercase();
    ensure!(last.as_str() >= "\"c\"" && last.as_str() <= "\"l\"", "{last} was read last");
    server.sql(&[
        "delete from words where word = 'Z'",
        "update words set v = 'new' where word in ('a', 'A', 'z')",
        "insert into words values ('B', -1, 10001, 'it''s'), ('Y', -1, 10002, '\\')",
    ])?;
    site.write("spec.yaml", spec(&server, "", fetch, QUICK))?;
    read_all(&site)?;
    let all = messages(&site)?;
    same(&replay(&all)?, &truth(&server, "words", "word, n, id, v")?)?;
    let count = |op: &str| all.iter().filter(|message| message.op() == op).count();
    ensure!((count("c"), count("u"), count("d")) == (1, 100, 0), "{} {} {}", count("c"), count("u"), count("d"));
    Ok(())
}

/// A value of every type that is one of a kind, and what the server itself makes of them.
const KINDS: [(&str, &str, &str); 22] = [
    ("b", "bool", "true"),
    ("small", "int2", "-32768"),
    ("large", "int8", "9223372036854775807"),
    ("f4", "float4", "1.1754944e-38"),
    ("f8", "float8", "0.1::float8 + 0.2::float8"),
    ("nan", "float8", "'NaN'"),
    ("n", "numeric", "0.1234567890123456789012345678901234567890"),
    ("wide", "numeric(60, 20)", "1234567890123456789012345678901234567890.5"),
    ("text", "text", "E'\\\\ \" \\t \\n é 😀'"),
    ("padded", "char(6)", "'ab'"),
    ("bytes", "bytea", "'\\x00ff5c22'"),
    ("ts", "timestamp", "'2026-02-28 23:59:59.999999'"),
    ("tz", "timestamptz", "'1969-12-31 23:59:59.5+09'"),
    ("day", "date", "'4713-01-01 BC'"),
    ("tm", "time", "'24:00:00'"),
    ("iv", "interval", "'1 year -2 days 3.000001 s'"),
    ("id2", "uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"),
    ("js", "json", "'{\"a\" : 1.0, \"a\": 1e400}'"),
    ("ints", "int[]", "'{{1,NULL},{3,4}}'"),
    ("texts", "text[]", "array['a,b', '\"', null, 'NULL']"),
    ("mood", "mood", "'very sad'"),
    ("span", "int4range", "'[1,5]'"),
];

#[test]
fn values_are_the_servers_own_text_in_rows_and_changes() -> Result<()> {
    // None of what a server or a role is set to matters.
    let odd = "timezone = 'Asia/Tokyo'\ndatestyle = 'German'\nbytea_output = 'escape'\nintervalstyle = 'iso_8601'\nextra_float_digits = -5\n";
    let Some(server) = Postgres::start(odd)? else { return Ok(()) };
    let columns: Vec<String> = KINDS.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    let values: Vec<&str> = KINDS.iter().map(|(_, _, value)| *value).collect();
    let row = |id: u32| format!("insert into kinds values ({id}, {})", values.join(", "));
    server.sql(&[
        "create type mood as enum ('very sad')",
        &format!("create table kinds (id int primary key, {})", columns.join(", ")),
        "create publication pub for table kinds",
        &row(1),
        "insert into kinds values (2)",
    ])?;
    let site = Site::new()?;
    site.write("spec.yaml", spec(&server, "", "timeout: 200ms", QUICK))?;
    read_all(&site)?;
    server.sql(&[&row(3), "insert into kinds values (4)"])?;
    read_all(&site)?;

    let texts = KINDS.iter().map(|(name, kind, _)| match *kind {
        "bool" | "int2" | "int8" => (*name).to_owned(),
        _ => format!("{name}::text as {name}"),
    });
    let texts = texts.collect::<Vec<_>>().join(", ");
    let set = [
        "set timezone = 'UTC'",
        "set datestyle = 'ISO'",
        "set bytea_output = 'hex'",
        "set intervalstyle = 'postgres'",
        "set extra_float_digits = 3",
    ];
    let query = format!("select row_to_json(x) from (select id, {texts} from kinds order by id) x");
    let rows = server.sql(&[&set[..], &[query.as_str()]].concat())?;
    let messages = messages(&site)?;
    let ops: Vec<&str> = messages.iter().map(Message::op).collect();
    ensure!(ops == ["r", "r", "c", "c"], "{ops:?}");
    for (message, row) in messages.iter().zip(&rows) {
        let mut row: Value = serde_json::from_str(row)?;
        // A cast to text is what cuts the blanks of this type.
        if row["padded"].is_string() {
            row["padded"] = "ab    ".into();
        }
        ensure!(message.value["after"] == row, "{}\ninstead of\n{row}", message.value["after"]);
        ensure!(message.key.as_deref() == Some(&format!("{{\"id\":{}}}", row["id"])), "{:?}", message.key);
    }
    Ok(())
}

/// The names of the columns of a row.
fn columns(row: &Value) -> String {
    row.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
}

#[test]
fn tables_change_their_columns_keep_large_values_and_are_emptied() -> Result<()> {
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    server.sql(&[
        "create table big (id int primary key, small text, large text)",
        "alter table big alter column large set storage external",
        "create table words (word text collate \"en-x-icu\", id int, n int generated always as (id + 1) stored, primary key (word, id))",
        "insert into words select chr(97 + i % 26 - 32 * (i % 2)) || i % 700, i from generate_series(1, 9000) i",
        "insert into big select 1, 'a', string_agg(md5(i::text), '') from generate_series(1, 100000) i",
        "create publication pub for table big, words where (id % 3 > 0)",
    ])?;
    let site = Site::new()?;
    site.write(
        "spec.yaml",
        spec(&server, ", maxMessage: 8000000", "timeout: 200ms", "commit: {flush: {rows: 5000, time: 50ms}}"),
    )?;
    read_all(&site)?;
    server.sql(&[
        "update big set small = 'b'",
        "update big set id = 2, small = 'c'",
        "alter table big replica identity full",
        "update big set small = 'd'",
        "begin; insert into big values (7, 'x', null); alter table big add column more numeric default 1.50; insert into big values (8, 'y', ''); commit",
        "alter table big rename column small to tiny",
        "update big set tiny = 'z' where id = 7",
        "delete from big where id = 8",
        "alter table big drop column more",
        "insert into big values (9, 'w', null)",
    ])?;
    read_all(&site)?;
    let all = messages(&site)?;
    let words: usize = server.one("select count(*) from words where id % 3 > 0")?.parse()?;
    let table = |name: &'static str| all.iter().filter(move |message| message.table() == name);
    ensure!(table("words").count() == words, "{} words instead of {words}", table("words").count());
    ensure!(table("words").all(|word| columns(&word.value["after"]) == "id,word"), "a generated column is read");
    let steps: Vec<_> = table("big")
        .map(|big| {
            let (value, large) = (&big.value, big.value["after"]["large"].as_str().map(str::len));
            format!(
                "{} {} > {} {:?} {}",
                big.op(),
                columns(&value["before"]),
                columns(&value["after"]),
                large,
                value["unchanged"]
            )
        })
        .collect();
    let expected = [
        "r  > id,large,small Some(3200000) null",
        "u  > id,small None [\"large\"]",
        "u id > id,small None [\"large\"]",
        // A full identity has it.
        "u id,large,small > id,large,small Some(3200000) null",
        "c  > id,large,small None null",
        "c  > id,large,more,small Some(0) null",
        "u id,large,more,tiny > id,large,more,tiny None null",
        "d id,large,more,tiny >  None null",
        "c  > id,large,tiny None null",
    ];
    ensure!(steps == expected, "{steps:#?}");
    ensure!(table("big").all(|big| big.key.is_some()), "a key is missing");
    server.sql(&["truncate big, words", "insert into big values (1, 'after', 'all')"])?;
    read_all(&site)?;
    same(&replay(&messages(&site)?)?, &truth(&server, "big", "id, tiny, large")?)
}
