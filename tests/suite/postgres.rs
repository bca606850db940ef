//! The plugin `postgres` against the server it is named after.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::{Running, Site, postgres::Postgres};

/// A pipeline of a publication's messages as they are.
fn spec(server: &Postgres, settings: &str, fetch: &str, more: &str) -> String {
    let address = server.address();
    format!(
        r#"
pipeline: {{name: rows}}
producer:
  stream:
    plugin: postgres
    topic: pub
    settings: {{address: "{address}", database: postgres, user: postgres, slot: spout{settings}}}
    metadata: [key, offset]
    fetch: {{{fetch}}}
  decoder: {{type: raw}}
{more}
grants:
  postgres: {{net: ["{address}"]}}
"#
    )
}

const QUICK: &str = "commit: {flush: {rows: 500, time: 50ms}}";

/// A message as it is committed.
struct Message {
    key: Option<String>,
    value: Value,
}

impl Message {
    fn op(&self) -> &str {
        self.value["op"].as_str().unwrap_or_default()
    }

    fn xid(&self) -> u64 {
        self.value["source"]["xid"].as_u64().unwrap_or_default()
    }

    fn table(&self) -> &str {
        self.value["source"]["table"].as_str().unwrap_or_default()
    }
}

/// All messages in their order; offsets rise strictly.
fn messages(site: &Site) -> Result<Vec<Message>> {
    let rows = site.rows(
        "select cast(value as varchar) as value, cast(__key as varchar) as key, __offset as at from rows order by __offset",
        None,
    )?;
    let mut before = None;
    let one = |row: String| {
        let mut row: Value = serde_json::from_str(&row)?;
        let at = row["at"].as_u64();
        ensure!(at > before, "offset {at:?} comes after {before:?}");
        before = at;
        let value = serde_json::from_str(row["value"].as_str().context("a value")?)?;
        let key = row["key"].take();
        Ok(Message { key: key.as_str().map(str::to_owned), value })
    };
    rows.into_iter().map(one).collect()
}

/// The rows of tables, by table and `id`.
type Tables = BTreeMap<(String, String), Value>;

/// What becomes of tables by these messages. A row that appears was not there, and one that changes or goes was.
fn replay(messages: &[Message]) -> Result<Tables> {
    let mut tables = Tables::new();
    for message in messages {
        let (before, after) = (&message.value["before"], &message.value["after"]);
        let at = |row: &Value| (message.table().to_owned(), row["id"].to_string());
        let wrong = || format!("{} of a row that is not as before: {}", message.op(), message.value);
        match message.op() {
            "r" | "c" => ensure!(tables.insert(at(after), after.clone()).is_none(), wrong()),
            "u" => {
                let old = tables.remove(&at(if before.is_null() { after } else { before })).with_context(wrong)?;
                let mut new = after.clone();
                for name in message.value["unchanged"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    new[name] = old[name].clone();
                }
                ensure!(tables.insert(at(after), new).is_none(), wrong());
            }
            "d" => drop(tables.remove(&at(before)).with_context(wrong)?),
            "t" => tables.retain(|(table, _), _| table != message.table()),
            other => bail!("what is `{other}`?"),
        }
    }
    Ok(tables)
}

/// The rows of a table as the server has them.
fn truth(server: &Postgres, table: &str, columns: &str) -> Result<Tables> {
    let rows = server.sql(&[&format!("select row_to_json(x) from (select {columns} from {table}) x")])?;
    let one = |row: String| {
        let row: Value = serde_json::from_str(&row)?;
        Ok(((table.to_owned(), row["id"].to_string()), row))
    };
    rows.into_iter().map(one).collect()
}

fn same(found: &Tables, truth: &Tables) -> Result<()> {
    let missing = truth.iter().find(|(at, row)| found.get(*at) != Some(*row));
    ensure!(missing.is_none(), "{missing:?} is {:?}", missing.and_then(|(at, _)| found.get(at)));
    ensure!(found.len() == truth.len(), "{} rows instead of {}", found.len(), truth.len());
    Ok(())
}

/// Changes of all kinds in transactions of all sizes, some of which come to nothing.
const WORK: &str = "
create procedure work(changes int) language plpgsql as $$
declare k int; dice float; left_in int := 1;
begin
  for n in 1..changes loop
    k := 1 + floor(random() * 30000); dice := random();
    if dice < 0.35 then
      insert into t values (k, nextval('seq'), repeat('x', (random() * 100)::int)) on conflict (id) do update set seq = excluded.seq;
    elsif dice < 0.75 then
      update t set seq = nextval('seq'), v = md5(random()::text) where id = k;
    elsif dice < 0.85 then
      update t set seq = nextval('seq'), id = k + 30000 where id = k and not exists (select from t where id = k + 30000);
    else
      delete from t where id in (k, k + 30000);
    end if;
    left_in := left_in - 1;
    if left_in <= 0 then
      if random() < 0.1 then rollback; else commit; end if;
      left_in := floor(exp(random() * 4));
    end if;
  end loop;
  commit;
end $$";

/// Reads what there is.
fn read_all(site: &Site) -> Result<String> {
    site.ok(&["run", "spec.yaml", "--until", "idle"])
}

/// Calls it so often, and until it is enough; a call that the server did not survive is not counted.
fn write(mut psql: Command, calls: u32, enough: &AtomicBool) -> Result<()> {
    psql.args(["-c", "call work(1000)"]);
    let begun = Instant::now();
    let mut done = 0;
    while done < calls || !enough.load(Ordering::Relaxed) {
        done += u32::from(psql.output()?.status.success());
        ensure!(begun.elapsed() < Duration::from_secs(300), "{done} of {calls} calls in five minutes");
    }
    Ok(())
}

fn host(site: &Site) -> Result<Running> {
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("started")?;
    Ok(running)
}

/// Waits for its next commit.
fn committed(running: &mut Running) -> Result<()> {
    running.wait_for("committed")?.context("it ended").map(drop)
}

/// What the last commit says of where it is.
fn place(site: &Site) -> Result<Value> {
    let commit = site.json(&["inspect", "commit", "rows@master"])?.remove(0);
    let token = commit["marker"]["0"]["token"].as_str().context("a token")?;
    Ok(serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(token)?)?)
}

/// Whether what the server was told is committed.
fn honest(server: &Postgres, site: &Site) -> Result<()> {
    let place = place(site)?;
    let lsn = place["lsn"].as_str().context("a place in the log")?;
    let told = server
        .one(&format!("select confirmed_flush_lsn <= '{lsn}' from pg_replication_slots where slot_name = 'spout'"))?;
    ensure!(told == "t", "the slot is ahead of {place}");
    Ok(())
}

/// Rows are read while they change and hosts are killed, then changes come while hosts and servers are killed; and it is all there,
/// once and in order, as another slot has it.
#[test]
fn kills_of_hosts_and_servers_lose_and_double_nothing() -> Result<()> {
    let Some(mut server) = Postgres::start("")? else { return Ok(()) };
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let mut dice = StdRng::seed_from_u64(seed);
    let rows = 20_000;
    server.sql(&[
        "create sequence seq",
        "create table t (id int primary key, seq bigint, v text)",
        &format!("insert into t select i, nextval('seq'), 'row ' || i from generate_series(1, {rows}) i"),
        "create publication pub for table t",
        WORK,
        "select pg_create_logical_replication_slot('audit', 'test_decoding')",
    ])?;
    let site = Site::new()?;
    site.write("spec.yaml", spec(&server, "", "timeout: 100ms, messages: 300", QUICK))?;
    let begun = Instant::now();
    let enough = Arc::new(AtomicBool::new(false));
    let writer = |psql: Command| (psql, Arc::clone(&enough));
    let writers = [writer(server.psql()), writer(server.psql())];
    let writers = writers.map(|(psql, enough)| thread::spawn(move || write(psql, 55, &enough)));
    for _ in 0..4 {
        let mut running = host(&site)?;
        for _ in 0..3 {
            committed(&mut running)?;
        }
        running.child.kill()?;
        running.end()?;
        honest(&server, &site)?;
    }
    let read = site.number("select count(*) from rows where value like '{\"op\":\"r\"%'", None)?;
    ensure!(read > 1000 && read < rows, "{read} rows were read when the fourth host was killed: not within them");
    let mut running = host(&site)?;
    while place(&site)?.get("rest").is_some() {
        committed(&mut running)?;
    }
    println!("{:?}: all rows are read", begun.elapsed());
    for round in 0..8 {
        thread::sleep(Duration::from_millis(dice.random_range(50..500)));
        if round % 2 == 1 {
            server.crash()?;
            // The host lives on, and so does its pipeline.
            committed(&mut running)?;
        }
        running.child.kill()?;
        running.end()?;
        honest(&server, &site)?;
        running = host(&site)?;
    }
    running.child.kill()?;
    running.end()?;
    enough.store(true, Ordering::Relaxed);
    println!("{:?}: twelve hosts and four servers were killed", begun.elapsed());
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    println!("{:?}: everything is written", begun.elapsed());
    // What is left is read, and the server knows.
    let mut running = host(&site)?;
    let end = server
        .sql(&["select pg_current_wal_insert_lsn()", "insert into t values (0, nextval('seq'), 'the end')"])?
        .remove(0);
    server.until(&format!("confirmed_flush_lsn > '{end}' from pg_replication_slots where slot_name = 'spout'"))?;
    running.child.kill()?;
    running.end()?;
    honest(&server, &site)?;
    read_all(&site)?;
    println!("{:?}: everything is read", begun.elapsed());

    let all = messages(&site)?;
    same(&replay(&all)?, &truth(&server, "t", "id, seq, v")?)?;
    let audit = server.sql(&[
        "select xid, lower(left(split_part(data, ' ', 3), 1)) from pg_logical_slot_get_changes('audit', null, null) \
                              where data like 'table %'",
    ])?;
    let after = all.iter().rposition(|message| message.op() == "r").map_or(0, |at| at + 1);
    let told = |message: &Message| format!("{}|{}", message.xid(), message.op().replace('c', "i"));
    let changes: Vec<String> = all.iter().skip(after).map(told).collect();
    ensure!(
        audit.len() > 100_000 && changes.len() > 50_000,
        "{} changes, {} after the rows",
        audit.len(),
        changes.len()
    );
    let wrong = audit.iter().rev().zip(changes.iter().rev()).find(|(one, other)| one != other);
    ensure!(audit.ends_with(&changes), "changes differ: {wrong:?}");
    // Those in between are some of those before, in their order.
    let mut before = audit.iter();
    let between = all.iter().take(after).filter(|message| message.op() != "r");
    for message in between.clone() {
        let prefix = format!("{}|", message.xid());
        ensure!(before.any(|line| line.starts_with(&prefix)), "{} is out of order", message.value);
    }
    println!("{} messages: {} rows, {} changes between, {} after", all.len(), read, between.count(), changes.len());
    site.ok(&["fsck"])?;
    Ok(())
}

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

#[test]
fn the_slot_follows_commits_alone_and_survives_silence_and_restarts() -> Result<()> {
    let Some(mut server) = Postgres::start("wal_sender_timeout = 1s\n")? else { return Ok(()) };
    server.sql(&["create table t (id int primary key)", "create publication pub for all tables"])?;
    let site = Site::new()?;
    let lazy = "commit: {flush: {time: 1h}}";
    site.write("spec.yaml", spec(&server, "", "timeout: 100ms", lazy))?;
    let mut running = host(&site)?;
    server
        .until("exists (select from pg_stat_replication where application_name = 'spout' and state = 'streaming')")?;
    server.sql(&["insert into t select generate_series(1, 100)"])?;
    let end = server.one("select pg_current_wal_lsn()")?;
    server.until(&format!("exists (select from pg_stat_replication where write_lsn >= '{end}')"))?;
    let confirmed =
        format!("select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = 'spout'");
    ensure!(server.one(&confirmed)? == "f", "what is not committed is confirmed");
    // It answers although nothing happens; and a server that ends does not wait for commits.
    server.until("exists (select from pg_stat_replication where reply_time > backend_start + interval '2500 ms')")?;
    let begun = Instant::now();
    server.restart()?;
    ensure!(begun.elapsed() < Duration::from_secs(30), "the server waited for {:?}", begun.elapsed());
    running.signal("TERM")?;
    let (ended, said) = running.end()?;
    ensure!(ended, "{said}");

    site.write("spec.yaml", spec(&server, "", "timeout: 100ms", QUICK))?;
    running = host(&site)?;
    server.sql(&["insert into t values (101)"])?;
    committed(&mut running)?;
    server.until(&format!("({confirmed})"))?;
    server.restart()?;
    server.sql(&["insert into t values (102)"])?;
    committed(&mut running)?;
    drop(running);
    read_all(&site)?;
    same(&replay(&messages(&site)?)?, &truth(&server, "t", "id")?)
}

#[test]
fn trouble_has_a_name() -> Result<()> {
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    let site = Site::new()?;
    let write =
        |settings: &str, more: &str| site.write("spec.yaml", spec(&server, settings, "timeout: 100ms", more)).map(drop);
    let fails = |parts: &[&str]| -> Result<()> {
        let output = site.run(&["run", "spec.yaml", "--until", "idle"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "it does not fail");
        parts.iter().try_for_each(|part| Ok(ensure!(said.contains(part), "{part:?} is not in\n{said}")))
    };
    write("", QUICK)?;
    fails(&["postgres.publication", "CREATE PUBLICATION \"pub\""])?;
    server.sql(&["create table t (id int primary key)", "create table bare (id int)", "insert into t values (1)"])?;
    server.sql(&["create publication pub for table t, bare"])?;
    fails(&["public.bare", "no primary key", "snapshot: never"])?;
    write(", tables: [public.t, public.u]", QUICK)?;
    fails(&["`public.u` is not in the publication"])?;
    write(", tables: [public.t]", QUICK)?;
    read_all(&site)?;

    // Two who read one slot: the second waits, and says why.
    server.sql(&["insert into t values (2)", "insert into bare values (2)"])?;
    let options =
        ["-d", "postgres", "-S", "spout", "--start", "-f", "-", "-o", "proto_version=1", "-o", "publication_names=pub"];
    let mut other = server
        .beside("pg_recvlogical")
        .args(options)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut running = server
        .until("exists (select from pg_stat_replication where application_name = 'pg_recvlogical')")
        .and_then(|()| host(&site))?;
    let begun = Instant::now();
    while !server.log().contains("is active for PID") && begun.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(20));
    }
    // It has not confirmed anything.
    thread::sleep(Duration::from_millis(2200));
    other.kill()?;
    other.wait()?;
    committed(&mut running)?;
    running.signal("TERM")?;
    let (ended, said) = running.end()?;
    ensure!(
        ended && said.contains("postgres.slot-in-use") && said.contains("a slot belongs to one pipeline"),
        "{said}"
    );
    same(&replay(&messages(&site)?)?, &truth(&server, "t", "id")?)?;

    // What was skipped by hand is not there any more.
    server.sql(&["insert into t values (3)", "select pg_replication_slot_advance('spout', pg_current_wal_lsn())"])?;
    fails(&["E0301"])?;
    let text = std::fs::read_to_string(site.path().join("spec.yaml"))?;
    site.write("spec.yaml", text.replace("    metadata:", "    onOutOfRange: earliest\n    metadata:"))?;
    read_all(&site)?;
    let again: Vec<_> = messages(&site)?
        .iter()
        .rev()
        .take(3)
        .map(|message| format!("{} {}", message.op(), message.value["after"]["id"]))
        .collect();
    ensure!(again == ["r 3", "r 2", "r 1"], "{again:?}");

    // What the slot needs is removed; then the slot.
    server.sql(&["alter system set max_slot_wal_keep_size = '1MB'", "select pg_reload_conf()"])?;
    for _ in 0..4 {
        server.sql(&["insert into bare values (4)", "select pg_switch_wal()"])?;
    }
    server.sql(&["checkpoint"])?;
    server.until("exists (select from pg_replication_slots where wal_status = 'lost')")?;
    fails(&["postgres.slot-lost", "max_slot_wal_keep_size"])?;
    server.sql(&["select pg_drop_replication_slot('spout')"])?;
    fails(&["postgres.slot-lost", "is gone", "spout marker seek"])?;
    site.ok(&["marker", "seek", "rows", "--to", "earliest", "--spec", "spec.yaml"])?;
    let before = site.number("select count(*) from rows", None)?;
    read_all(&site)?;
    let read = site.number("select count(*) from rows", None)? - before;
    ensure!(read == 3, "{read} rows instead of 3");
    Ok(())
}

#[test]
fn every_promise_of_a_source_is_kept() -> Result<()> {
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    server.sql(&[
        "create table t (id int primary key, v text)",
        "create publication pub for table t",
        "select pg_create_logical_replication_slot('spout', 'pgoutput')",
        "insert into t select i, md5(i::text) from generate_series(1, 300) i",
        "update t set v = null where id % 3 = 0",
        "delete from t where id % 5 = 0",
    ])?;
    let site = Site::new()?;
    let address = server.address();
    let named = ["database=postgres", "user=postgres", "slot=spout"];
    for snapshot in ["initial", "never"] {
        let own = [format!("address={address}"), format!("snapshot={snapshot}")];
        let mut args = vec!["plugin", "test", "postgres", "--source", "--topic", "pub", "--net", &address];
        args.extend(
            named.iter().copied().chain(own.iter().map(String::as_str)).flat_map(|setting| ["--settings", setting]),
        );
        let said = site.ok(&args)?;
        let count = if snapshot == "initial" { "240 messages" } else { "460 messages" };
        ensure!(said.contains(count) && !said.contains("failed"), "{said}");
    }
    Ok(())
}
