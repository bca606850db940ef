//! The plugin `postgres` against the server it is named after.

use std::{
    collections::BTreeMap,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
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
    let missing = truth.iter().find(|(at, row)| found.get(at) != Some(row));
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

/// Calls it so often; a call that the server did not survive is not counted.
fn write(mut psql: Command, calls: u32) -> Result<()> {
    psql.args(["-c", "call work(500)"]);
    let begun = Instant::now();
    let mut done = 0;
    while done < calls {
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
    let writers: Vec<_> = (0..2).map(|_| (server.psql(), 140)).map(|(psql, calls)| thread::spawn(move || write(psql, calls))).collect();
    for _ in 0..4 {
        let mut running = host(&site)?;
        for _ in 0..3 {
            running.wait_for("commit")?;
        }
        running.child.kill()?;
    }
    let read = site.number("select count(*) from rows where value like '{\"op\":\"r\"%'", None)?;
    ensure!(read > 1000 && read < rows, "{read} rows were read when the fourth host was killed: not within them");
    for round in 0..8 {
        let mut running = host(&site)?;
        thread::sleep(Duration::from_millis(dice.random_range(100..700)));
        if round % 2 == 1 {
            server.crash()?;
            // The host lives on, and so does its pipeline.
            running.wait_for("commit")?;
        }
        running.child.kill()?;
    }
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;

    let all = messages(&site)?;
    same(&replay(&all)?, &truth(&server, "t", "id, seq, v")?)?;
    let audit = server.sql(&["select xid, lower(left(split_part(data, ' ', 3), 1)) from pg_logical_slot_get_changes('audit', null, null) \
                              where data like 'table %'"])?;
    let after = all.iter().rposition(|message| message.op() == "r").map_or(0, |at| at + 1);
    let told = |message: &Message| format!("{}|{}", message.xid(), message.op().replace('c', "i"));
    let changes: Vec<String> = all.iter().skip(after).map(told).collect();
    ensure!(audit.len() > 100_000 && changes.len() > 50_000, "{} changes, {} after the rows", audit.len(), changes.len());
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
    // Nothing is left to send, and the server knows.
    let lag = server.one("select pg_current_wal_lsn() - confirmed_flush_lsn from pg_replication_slots where slot_name = 'spout'")?;
    ensure!(lag.parse::<u64>()? < 2 << 20, "the slot is {lag} bytes behind");
    site.ok(&["fsck"])?;
    Ok(())
}
