//! The decoder `registry` where the registry is down, slow or broken, at the start and in the middle, and the host is killed: no message is
//! lost, and none is a dead letter that a sound registry has a schema for.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;
use spout_tests::Site;

const PATIENCE: Duration = Duration::from_secs(100);
/// Messages of one schema.
const EACH: u32 = 20;

/// How a registry answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Down,
    Slow,
    Html,
    /// An answer like that of a registry, whose schema is none.
    Broken,
    Oops,
}

const MOODS: [Mood; 6] = [Mood::Well, Mood::Down, Mood::Slow, Mood::Html, Mood::Broken, Mood::Oops];

/// A registry that has a schema for every id, and answers as it is told from then on.
#[derive(Clone, Debug)]
struct Registry {
    url: String,
    mood: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

impl Registry {
    fn start(mood: Mood) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let registry = Self { url, mood: Arc::default(), asked: Arc::default() };
        registry.is(mood);
        let of_thread = registry.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let registry = of_thread.clone();
                thread::spawn(move || registry.answer(&stream));
            }
        });
        Ok(registry)
    }

    fn is(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
        self.asked.store(0, Ordering::SeqCst);
    }

    fn mood(&self) -> Mood {
        MOODS[usize::from(self.mood.load(Ordering::SeqCst))]
    }

    /// Waits until it was asked since it is as it is.
    fn until_asked(&self) -> Result<()> {
        let begun = Instant::now();
        while self.asked.load(Ordering::SeqCst) == 0 {
            ensure!(begun.elapsed() < PATIENCE, "{:?}: nobody asks", self.mood());
            thread::yield_now();
        }
        Ok(())
    }

    fn answer(&self, mut stream: &TcpStream) {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let mood = self.mood();
        let schema = json!({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]});
        let whole = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        };
        let answer = match mood {
            Mood::Well | Mood::Slow => whole("200 OK", &json!({"schema": schema.to_string()}).to_string()),
            Mood::Down => String::new(),
            Mood::Html => whole("200 OK", "<html>it works!</html>"),
            Mood::Broken => whole("200 OK", &json!({"schema": "{\"type\":"}).to_string()),
            Mood::Oops => whole("500 Oops", "{}"),
        };
        if !request.is_empty() {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        if mood != Mood::Slow {
            return drop(stream.write_all(answer.as_bytes()));
        }
        // A byte at a time for as long as it is slow; then it gives up.
        for byte in answer.as_bytes() {
            if self.mood() != Mood::Slow || stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::park_timeout(Duration::from_millis(100));
        }
    }
}

/// Messages of the schema with this id, each in a file.
fn put(site: &Site, schema: u32) -> Result<()> {
    for number in 0..EACH {
        let zigzag = (schema * EACH + number) * 2;
        let value = [(zigzag & 127) as u8 | 128, (zigzag >> 7 & 127) as u8 | 128, (zigzag >> 14) as u8];
        // Nobody sees half of it.
        let new = site.write("new", [&[0][..], &schema.to_be_bytes(), &value].concat())?;
        std::fs::rename(new, site.path().join(format!("in/{schema:03}-{number:03}")))?;
    }
    Ok(())
}

fn until_there_are(site: &Site, rows: u32) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = site.number("select count(*) from orders_t", None).unwrap_or(0);
        if found == u64::from(rows) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE && found < u64::from(rows), "{found} rows, not {rows}");
    }
}

#[test]
fn no_message_is_lost_or_set_aside_because_of_the_registry() -> Result<()> {
    let site = Site::new()?;
    let registry = Registry::start(Mood::Down)?;
    let spec = format!(
        "pipeline: {{name: orders}}
producer:
  stream: {{plugin: files, topic: in, settings: {{whole: true}}, discoverEvery: 50ms, fetch: {{timeout: 50ms}}}}
  decoder: {{type: registry, url: \"{}\", schema: {{id: int64}}}}
commit: {{path: /t/, flush: {{rows: 7, time: 50ms}}}}
errors: {{decode: dead-letter}}
grants: {{files: {{dirs: {{in: ./in}}}}}}
",
        registry.url
    );
    site.write("orders.yaml", spec)?;
    std::fs::create_dir(site.path().join("in"))?;
    put(&site, 1)?;
    let mut run = site.start(&["run", "orders.yaml"])?;
    registry.until_asked()?;
    registry.is(Mood::Well);
    until_there_are(&site, EACH)?;
    // Each time, a schema that is not known yet; what is broken in the middle, and twice the host is killed there.
    let mut schema = 1;
    for mood in [Mood::Down, Mood::Html, Mood::Slow, Mood::Broken, Mood::Oops] {
        registry.is(mood);
        schema += 1;
        put(&site, schema)?;
        registry.until_asked()?;
        if matches!(mood, Mood::Html | Mood::Broken) {
            run.signal("KILL")?;
            run.child.wait()?;
            run = site.start(&["run", "orders.yaml"])?;
            registry.is(mood);
            registry.until_asked()?;
        }
        registry.is(Mood::Well);
        until_there_are(&site, schema * EACH)?;
    }
    run.signal("TERM")?;
    let (fine, said) = run.end()?;
    ensure!(fine && said.contains("registry") && said.contains("orders"), "{said}");
    ensure!(site.number("select count(distinct id) from orders_t", None)? == u64::from(schema * EACH));
    let letters: BTreeMap<String, u64> = site
        .json(&["list", "commit", "orders"])?
        .iter()
        .map(|commit| (commit["id"].to_string(), commit["dead_letters"].as_u64().unwrap_or(0)))
        .filter(|(_, letters)| *letters > 0)
        .collect();
    ensure!(letters.is_empty(), "{letters:?}");
    site.ok(&["fsck"]).map(drop)
}
