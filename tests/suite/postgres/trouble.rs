//! Slots, silence, restarts, and what goes wrong.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use spout_tests::{Site, postgres::Postgres};

use super::{QUICK, committed, host, messages, read_all, replay, same, spec, truth};

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
        for part in parts {
            ensure!(said.contains(part), "{part:?} is not in\n{said}");
        }
        Ok(())
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
fn the_latest_is_what_comes_from_now_on() -> Result<()> {
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    server.sql(&[
        "create table t (id int primary key)",
        "create publication pub for table t",
        "insert into t values (1)",
    ])?;
    let site = Site::new()?;
    site.write(
        "spec.yaml",
        spec(&server, "", "timeout: 100ms", QUICK).replace("    topic:", "    start: latest\n    topic:"),
    )?;
    for id in 2..4 {
        read_all(&site)?;
        server.sql(&[&format!("insert into t values ({id})")])?;
    }
    read_all(&site)?;
    let found: Vec<_> =
        messages(&site)?.iter().map(|one| format!("{} {}", one.op(), one.value["after"]["id"])).collect();
    ensure!(found == ["c 2", "c 3"], "{found:?}");
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
    let endpoint = format!("server={address}");
    for snapshot in ["initial", "never"] {
        let snapshot_is = format!("snapshot={snapshot}");
        let settings = ["database=postgres", "user=postgres", "slot=spout", snapshot_is.as_str()];
        let mut args = vec!["plugin", "test", "postgres", "--source", "--topic", "pub", "--endpoint", &endpoint];
        args.extend(settings.iter().flat_map(|setting| ["--settings", setting]));
        let said = site.ok(&args)?;
        let count = if snapshot == "initial" { "240 messages" } else { "460 messages" };
        ensure!(said.contains(count) && !said.contains("failed"), "{said}");
    }
    Ok(())
}
