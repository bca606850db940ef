//! Hosts and servers are killed while rows are read and changes come.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_tests::{Site, postgres::Postgres};

use super::{Message, QUICK, committed, host, messages, place, read_all, replay, same, spec, truth};

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

/// How much longer than in CI it takes: `just soak` kills more often.
fn scale() -> u32 {
    spout_tests::kills().div_ceil(25)
}

/// Calls it so often, and until it is enough; a call that the server did not survive is not counted.
fn write(mut psql: Command, calls: u32, enough: &AtomicBool) -> Result<()> {
    psql.args(["-c", "call work(1000)"]);
    let begun = Instant::now();
    let mut done = 0;
    while done < calls || !enough.load(Ordering::Relaxed) {
        done += u32::from(psql.output()?.status.success());
        ensure!(begun.elapsed() < Duration::from_secs(300) * scale(), "{done} of {calls} calls in time");
    }
    Ok(())
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
    let writers = writers.map(|(psql, enough)| thread::spawn(move || write(psql, 65 * scale(), &enough)));
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
    for round in 0..8 * scale() {
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
    println!("{:?}: hosts and servers were killed", begun.elapsed());
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
