//! Sources that forget what was acknowledged: nothing is lost, and nothing is there twice that is recognized.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    ops::RangeInclusive,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_tests::{
    Site, guests,
    troubled::{reach, stop},
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A queue that hands out again what was not acknowledged when a connection ends.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<u64>,
    /// It hands out no more than this number of messages that are not acknowledged, if there is one.
    most: Option<usize>,
    connections: u64,
    /// By tag: the message that was handed out.
    out: BTreeMap<u64, u64>,
    tags: u64,
    delivered: u64,
    acknowledged: u64,
}

impl Queue {
    fn with(messages: u64) -> Arc<Self> {
        let state = State { waiting: (0..messages).collect(), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Serves at the address that is returned, as long as the process lives.
    fn serve(self: &Arc<Self>) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let queue = Arc::clone(self);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let queue = Arc::clone(&queue);
                thread::spawn(move || drop(queue.talk(stream)));
            }
        });
        Ok(address)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
        answer
    }

    /// Waits until `so` is true; whether it was in time, before `gone` was.
    fn wait(&self, mut gone: impl FnMut() -> bool, so: impl Fn(&State) -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !so(&state) {
            if gone() || Instant::now() >= until {
                return false;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(20));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn talk(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut mine = Vec::new();
        let talked = self.obey(&stream, &mut mine);
        self.change(|state| {
            let mut back: Vec<u64> = mine.iter().filter_map(|tag| state.out.remove(tag)).collect();
            back.sort_unstable();
            back.into_iter().rev().for_each(|message| state.waiting.push_front(message));
        });
        talked
    }

    fn obey(&self, stream: &TcpStream, mine: &mut Vec<u64>) -> Result<()> {
        let mut writer = stream;
        let instance = self.change(|state| {
            state.connections += 1;
            state.connections
        });
        writeln!(writer, "instance-{instance}")?;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let (verb, number) = line.split_once(' ').context("a verb and a number")?;
            let number: u64 = number.parse()?;
            let answer = self.change(|state| match verb {
                "NEXT" => {
                    let room = state.most.map_or(usize::MAX, |most| most.saturating_sub(state.out.len()));
                    let count = (number as usize).min(state.waiting.len()).min(room);
                    let mut answer = format!("{count}\n");
                    for message in state.waiting.drain(..count).collect::<Vec<_>>() {
                        state.tags += 1;
                        state.delivered += 1;
                        state.out.insert(state.tags, message);
                        mine.push(state.tags);
                        answer += &format!("{} id-{message} {message}\n", state.tags);
                    }
                    answer
                }
                "LEFT" => format!("{}\n", state.waiting.len()),
                _ => {
                    state.acknowledged += u64::from(state.out.remove(&number).is_some());
                    "ok\n".to_owned()
                }
            });
            writer.write_all(answer.as_bytes())?;
        }
        Ok(())
    }
}

fn site() -> Result<Site> {
    let mut site = Site::new()?;
    site.plugins = site.path().join("plugins");
    fs::create_dir(&site.plugins)?;
    fs::copy(guests().join("network.wasm"), site.plugins.join("network.wasm")).context("`just guests` builds it")?;
    Ok(site)
}

fn spec(address: &str, stream: &str, flush: &str) -> String {
    format!(
        "pipeline: {{name: orders}}
producer:
  stream: {{plugin: network/queue, topic: queue, consumerType: acked, {stream}}}
  decoder: {{type: raw}}
commit: {{flush: {{{flush}}}}}
grants: {{network: {{endpoints: {{queue: {{address: \"{address}\"}}}}}}}}
"
    )
}

/// Each of `count` messages is there once.
fn each_once(site: &Site, count: u64) -> Result<()> {
    let mut rows = site.rows("select cast(value as varchar) as n from orders", None)?;
    let all = rows.len();
    rows.sort_unstable();
    rows.dedup();
    ensure!((all as u64, rows.len() as u64) == (count, count), "{all} rows, {} different ones, of {count}", rows.len());
    Ok(())
}

/// Runs that are killed, each with as many readers as the dice say, empty a queue: each message is there once.
fn killed_anywhere(readers: RangeInclusive<u32>) -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let (mut dice, site) = (StdRng::seed_from_u64(seed), site()?);
    let messages = 20_000;
    let queue = Queue::with(messages);
    let address = queue.serve()?;
    let dedupe = "fetch: {messages: 500}, dedupe: {window: 500, unacknowledged: 3000}";
    let written = |dice: &mut StdRng| {
        let readers = dice.random_range(readers.clone());
        site.write("spec.yaml", spec(&address, &format!("readers: {readers}, {dedupe}"), "rows: 1000, time: 100ms"))
    };
    let run = ["run", "spec.yaml", "--until", "idle"];
    let mut kills = 0;
    while kills < 10 {
        written(&mut dice)?;
        // It dies after it was handed so many more, or acknowledged so many.
        let more = dice.random_range(1..1500);
        let (delivered, acknowledged) = queue.change(|state| (state.delivered + more, state.acknowledged + more));
        let by_acks = dice.random_bool(0.5);
        let mut running = site.start(&run)?;
        let died = queue.wait(
            || running.child.try_wait().is_ok_and(|ended| ended.is_some()),
            |state| if by_acks { state.acknowledged >= acknowledged } else { state.delivered >= delivered },
        );
        running.child.kill()?;
        running.end()?;
        ensure!(died, "after {kills} kills it ended by itself, or did nothing");
        kills += 1;
    }
    written(&mut dice)?;
    site.ok(&run)?;
    each_once(&site, messages)?;
    let left = queue.change(|state| (state.waiting.len(), state.out.len(), state.acknowledged, state.delivered));
    println!("{} of {} deliveries were of messages that were handed out before", left.3 - messages, left.3);
    ensure!((left.0, left.1, left.2) == (0, 0, messages), "{left:?}");
    ensure!(left.3 > messages, "nothing was handed out again: the test proves nothing");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn killed_anywhere_each_message_of_a_queue_is_there_once_and_the_queue_is_empty() -> Result<()> {
    killed_anywhere(1..=1)
}

#[test]
fn killed_anywhere_readers_that_come_and_go_share_a_queue_and_each_message_is_there_once() -> Result<()> {
    killed_anywhere(1..=3)
}

#[test]
fn a_message_that_a_queue_gives_to_two_readers_is_there_once() -> Result<()> {
    let site = site()?;
    let queue = Queue::with(3_000);
    let (stream, flush) = ("readers: 2, fetch: {messages: 50}", "rows: 1000000, time: 1h");
    let good = spec(&queue.serve()?, stream, flush);
    site.write("spec.yaml", &good)?;
    // Nothing is committed, and the queue hands out again to others what it has handed out.
    queue.change(|state| state.most = Some(800));
    let mut running = site.start(&["run", "spec.yaml"])?;
    ensure!(queue.wait(|| false, |state| state.out.len() == 800), "{:?}", queue.change(|state| state.out.len()));
    queue.change(|state| {
        let given: Vec<u64> = std::mem::take(&mut state.out).into_values().collect();
        given.into_iter().rev().for_each(|message| state.waiting.push_front(message));
    });
    let again = running.wait_for("retrying")?.context("it ended")?;
    ensure!(again["code"] == "E0986", "{again}");
    running.child.kill()?;
    running.end()?;
    queue.change(|state| state.most = None);
    site.write("spec.yaml", good.replace("time: 1h", "time: 50ms"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    each_once(&site, 3_000)?;
    let left = queue.change(|state| (state.waiting.len(), state.out.len(), state.acknowledged));
    ensure!(left == (0, 0, 3_000), "{left:?}");
    // One process has two readers, and each has some of it.
    let commits = format!("{:?}", site.json(&["list", "commit", "orders"])?);
    ensure!(!commits.contains("dedupe"), "what two readers had was committed: {commits}");
    Ok(())
}

#[test]
fn what_was_committed_and_not_acknowledged_is_recognized_and_acknowledged() -> Result<()> {
    let site = site()?;
    let queue = Queue::with(2_000);
    let address = queue.serve()?;
    // All of it is committed, and nothing acknowledged: as if it was killed between the two, each time.
    // More than may wait: those that the source could not be told of do not, or nothing would come after them.
    let dedupe = "fetch: {messages: 100}, dedupe: {window: 10, unacknowledged: 200}";
    let deaf = format!("settings: {{acknowledge: false}}, {dedupe}");
    site.write("spec.yaml", spec(&address, &deaf, "rows: 500, time: 50ms"))?;
    let said = site.run(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    each_once(&site, 2_000)?;
    let waits = |queue: &Queue| queue.wait(|| false, |state| state.waiting.len() == 2_000);
    ensure!(waits(&queue), "the queue did not take back what was not acknowledged");
    ensure!(queue.change(|state| (state.acknowledged, state.delivered)) == (0, 2_000));
    // The ids are in the commit, however small the window is.
    site.write("spec.yaml", spec(&address, dedupe, "rows: 500, time: 50ms"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    each_once(&site, 2_000)?;
    let left = queue.change(|state| (state.waiting.len(), state.out.len(), state.acknowledged, state.delivered));
    ensure!(left == (0, 0, 2_000, 4_000), "{left:?}");
    // What was left out is counted, so that everything adds up.
    let commit = site.json(&["inspect", "commit", "orders@master"])?.remove(0);
    ensure!(commit.to_string().contains("dedupe"), "{commit}");
    Ok(())
}

#[test]
fn a_dry_run_acknowledges_nothing() -> Result<()> {
    let site = site()?;
    let queue = Queue::with(100);
    site.write("spec.yaml", spec(&queue.serve()?, "fetch: {messages: 10}", "rows: 500, time: 50ms"))?;
    let tried = site.json(&["dry-run", "spec.yaml", "--rows", "20"])?.remove(0);
    ensure!(tried["messages"] == 20 && tried["notes"].to_string().contains("not acknowledged"), "{tried}");
    let back = queue.wait(|| false, |state| state.waiting.len() == 100);
    ensure!(back && queue.change(|state| state.acknowledged) == 0, "{:?}", queue.change(|state| state.waiting.len()));
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    each_once(&site, 100)
}

#[test]
fn as_many_wait_as_may_and_a_commit_is_made_before_there_are_more() -> Result<()> {
    let site = site()?;
    let queue = Queue::with(1_000);
    // No threshold of its own would be met for an hour.
    let stream = "fetch: {messages: 50}, dedupe: {unacknowledged: 100}";
    site.write("spec.yaml", spec(&queue.serve()?, stream, "rows: 1000000, time: 1h"))?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    let gone = || running.child.try_wait().is_ok_and(|ended| ended.is_some());
    let done = queue.wait(gone, |state| {
        assert!(state.out.len() <= 100, "{} wait", state.out.len());
        state.acknowledged >= 900
    });
    ensure!(done, "{:?}", queue.change(|state| (state.acknowledged, state.delivered)));
    running.signal("TERM")?;
    running.end()?;
    // Whatever was left when it was stopped is still in the queue.
    let rows = site.number("select count(distinct value) from orders", None)?;
    let left = queue.wait(|| false, |state| state.out.is_empty() && state.waiting.len() as u64 == 1_000 - rows);
    ensure!(left && rows >= 900, "{rows} rows, {:?}", queue.change(|state| (state.waiting.len(), state.out.len())));
    site.write("spec.yaml", fs::read_to_string(site.path().join("spec.yaml"))?.replace("time: 1h", "time: 50ms"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    each_once(&site, 1_000)
}

#[test]
fn what_waits_in_a_queue_is_a_lag_and_there_is_none_in_the_end() -> Result<()> {
    let mut site = site()?;
    site.environment.push(("SPOUT_RUNTIME", site.path().join("run").display().to_string()));
    let queue = Queue::with(1_000);
    queue.change(|state| state.most = Some(100));
    // As many messages as it hands out wait for a commit that is not made.
    let good = spec(&queue.serve()?, "fetch: {messages: 30}", "rows: 1000000, time: 50ms");
    site.write("spec.yaml", good.replace("50ms", "1h"))?;
    let behind = site.start(&["run", "spec.yaml"])?;
    let about = reach(&site, "orders", |about| about["lag"] == 900)?;
    ensure!(
        (&about["partitions"][0]["fetched"], &about["partitions"][0]["end"]) == (&100.into(), &1000.into()),
        "{about}"
    );
    stop(behind)?;
    // A new run counts on.
    site.write("spec.yaml", good)?;
    let run = site.start(&["run", "spec.yaml"])?;
    let about = reach(&site, "orders", |about| about["lag"] == 0 && about["partitions"][0]["committed"] == 1000)?;
    ensure!(about["condition"] == "idle" && about["partitions"][0]["end"] == 1000, "{about}");
    ensure!(!about["metrics"].to_string().contains("stream-consumer"), "a lag is no metric: {about}");
    stop(run)?;
    each_once(&site, 1_000)
}

#[test]
fn a_queue_is_read_as_one_and_promises_no_more_than_it_keeps() -> Result<()> {
    let site = site()?;
    let good = spec("127.0.0.1:9", "fetch: {messages: 100}", "rows: 500");
    site.write("spec.yaml", &good)?;
    let checked = site.ok(&["check", "spec.yaml"])?;
    ensure!(checked.contains("effectively-once (acked source: "), "{checked}");
    site.write("spec.yaml", good.replace("acked", "highlevel"))?;
    site.fails(&["check", "spec.yaml"], 2, &["E0116", "spec.yaml:3", "`consumerType: acked`"])?;
    site.write("spec.yaml", good.replace("network/queue", "network/lines"))?;
    site.fails(&["check", "spec.yaml"], 2, &["E0116", "`consumerType: highlevel`"])?;
    site.write("spec.yaml", format!("{good}guarantee: exactly-once\n"))?;
    site.fails(&["check", "spec.yaml"], 2, &["demands exactly-once", "effectively-once"])?;
    site.write("spec.yaml", format!("{good}guarantee: effectively-once\n"))?;
    site.ok(&["check", "spec.yaml"])?;
    site.write("spec.yaml", good.replace("acked, fetch", "highlevel, dedupe: {window: 5}, fetch"))?;
    site.fails(&["check", "spec.yaml"], 2, &["E0110", "`dedupe` is for"])?;
    Ok(())
}

#[test]
fn what_a_queue_promises_can_be_tried() -> Result<()> {
    let site = site()?;
    let queue = Queue::with(100);
    let endpoint = format!("queue={}", queue.serve()?);
    let test = ["plugin", "test", "network/queue", "--stream", "--topic", "queue", "--endpoint", &endpoint];
    let tried = site.ok(&test)?;
    ensure!(tried.contains("what was acknowledged does not come again"), "{tried}");
    // Half of what was read, and no more, is gone.
    ensure!(queue.wait(|| false, |state| state.out.is_empty()));
    let (waiting, acknowledged) = queue.change(|state| (state.waiting.len() as u64, state.acknowledged));
    ensure!(acknowledged > 0 && acknowledged < 100 && waiting + acknowledged == 100, "{waiting} {acknowledged}");
    let deaf = site.run(&[&test[..], &["--settings", "acknowledge=false"]].concat())?;
    let said = String::from_utf8_lossy(&deaf.stdout).into_owned();
    ensure!(deaf.status.code() == Some(1) && said.matches("BROKEN").count() == 2, "{said}");
    ensure!(said.contains("as it is told") && said.contains("was acknowledged, and comes again"), "{said}");
    Ok(())
}
