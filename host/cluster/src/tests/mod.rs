//! Stations that meet over loopback, and what they must not do.

mod asking;
mod attending;
mod cuts;
mod exchange;
mod hostile;
mod jobs;
mod membership;
mod processes;
mod taking_over;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use spout_pipeline::{Fleet as _, Job, Lost, Member, Said, Says, Task, Works};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{Error, Followed, Leading, Pace, Settings, Station, Token};

const FLEET: &str = "repo@main";
/// Whatever is waited for comes long before.
const LONG: Duration = Duration::from_secs(30);

/// Beats often, and has patience with a machine that does much else.
fn pace() -> Pace {
    Pace {
        beat: Duration::from_millis(50),
        member: Duration::from_secs(20),
        leader: Duration::from_secs(20),
        jitter: Duration::from_millis(50),
        answer: Duration::from_secs(20),
    }
}

/// For tests of silence.
fn impatient() -> Settings {
    let silent = Duration::from_millis(1200);
    Settings { pace: Pace { member: silent, leader: silent, ..pace() }, ..settings() }
}

fn token() -> Token {
    Token::new("sixteen bytes or more").unwrap()
}

fn settings() -> Settings {
    Settings { pace: pace(), ..Settings::new(([127, 0, 0, 1], 0).into(), token()) }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG, what).await.expect("it takes too long")
}

/// Does what a task's text says.
#[derive(Debug, Default)]
struct Doing {
    running: Arc<AtomicUsize>,
    said: Arc<AtomicUsize>,
    changed: Arc<watch::Sender<()>>,
}

/// Counts a task as running.
struct Running(Arc<AtomicUsize>, Arc<watch::Sender<()>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.send_replace(());
    }
}

impl Doing {
    async fn idle(&self) {
        let mut changes = self.changed.subscribe();
        while self.running.load(Ordering::SeqCst) > 0 {
            changes.changed().await.unwrap();
        }
    }
}

impl Works for Doing {
    fn work(&self, task: Bytes, orders: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Says, String>> {
        let text = String::from_utf8(task.to_vec()).unwrap();
        match text.strip_prefix("deal ") {
            // Words are for the gathers in turn; every tenth is for the leader.
            Some(rest) => {
                let (gathers, rest) = rest.split_once(' ').unwrap();
                let gathers: usize = gathers.parse().unwrap();
                let said = self.words(rest.to_owned(), orders).enumerate();
                let deal = move |(n, what): (usize, Result<Bytes, String>)| {
                    Ok(Says { to: (n % 10 > 0).then_some(n % gathers), what: what? })
                };
                said.map(deal).boxed()
            }
            None => self.words(text, orders).map(|said| said.map(Says::to_leader)).boxed(),
        }
    }

    fn gather(
        &self,
        task: Bytes,
        orders: BoxStream<'static, Bytes>,
        from: BoxStream<'static, Result<Bytes, Lost>>,
    ) -> BoxStream<'static, Result<Bytes, String>> {
        let text = String::from_utf8(task.to_vec()).unwrap();
        match text.as_str() {
            // Says what comes.
            "echo" => from
                .map(|sent| sent.map_err(|lost| lost.to_string()))
                .chain(self.words("say 1 8".into(), orders))
                .boxed(),
            // Takes nothing.
            "hold" => self
                .words("hold".into(), orders)
                .map(move |word| {
                    let _ = &from;
                    word
                })
                .boxed(),
            other => self.words(other.to_owned(), orders),
        }
    }
}

impl Doing {
    /// Does what `text` says.
    fn words(&self, text: String, orders: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Bytes, String>> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running), Arc::clone(&self.changed));
        let said = Arc::clone(&self.said);
        let mut words = text.split(' ').map(str::to_owned);
        let verb = words.next().unwrap();
        let mut number = move || words.next().unwrap().parse::<usize>().unwrap();
        let stream = match verb.as_str() {
            // COUNT words of SIZE bytes; the first ones are their number.
            "say" => {
                let (count, size) = (number(), number());
                let word = move |n: usize| {
                    said.fetch_add(1, Ordering::SeqCst);
                    let mut word = n.to_le_bytes().to_vec();
                    word.resize(size.max(8), 7);
                    Ok(Bytes::from(word))
                };
                stream::iter(0..count).map(word).boxed()
            }
            // Says what it is told, until it is told `cut`.
            "obey" => stream::once(async { Ok(Bytes::from_static(b"here")) })
                .chain(orders.map(Ok).take_while(|order| {
                    let more = order.as_deref() != Ok(b"cut".as_slice());
                    async move { more }
                }))
                .chain(stream::once(async { Ok(Bytes::from_static(b"cut")) }))
                .boxed(),
            "hold" => stream::once(async { Ok(Bytes::from_static(b"here")) }).chain(stream::pending()).boxed(),
            "fail" => stream::iter([Ok(Bytes::from_static(b"here")), Err("no such partition".to_owned())]).boxed(),
            "panic" => stream::poll_fn(|_| panic!("on purpose")).boxed(),
            "pid" => stream::once(async { Ok(Bytes::from(std::process::id().to_string())) }).boxed(),
            other => panic!("{other} is no verb"),
        };
        stream
            .map(move |word| {
                let _ = &running;
                word
            })
            .boxed()
    }
}

/// A station and what it does.
struct Site {
    station: Arc<Station>,
    doing: Arc<Doing>,
}

impl Site {
    async fn open(settings: Settings) -> Result<Self, Error> {
        let doing = Arc::new(Doing::default());
        let station = Arc::new(Station::open(settings, Arc::clone(&doing) as Arc<dyn Works>).await?);
        Ok(Self { station, doing })
    }

    fn id(&self) -> String {
        self.station.id().to_owned()
    }

    /// Follows `leader`; the token lets it leave.
    fn follow(&self, leader: &Self) -> (JoinHandle<Result<Followed, Error>>, CancellationToken) {
        let (station, leader, leave) = (Arc::clone(&self.station), leader.station.address(), CancellationToken::new());
        let token = leave.clone();
        (tokio::spawn(async move { station.follow(&leader, FLEET, &token).await }), leave)
    }
}

/// A leader and one member.
struct Two {
    leader: Site,
    leading: Leading,
    worker: Site,
    following: JoinHandle<Result<Followed, Error>>,
    leave: CancellationToken,
}

impl Two {
    async fn meet() -> Self {
        Self::with(settings(), settings()).await
    }

    async fn with(leader: Settings, worker: Settings) -> Self {
        let leader = Site::open(leader).await.unwrap();
        let leading = leader.station.lead(FLEET).unwrap();
        let worker = Site::open(worker).await.unwrap();
        let (following, leave) = worker.follow(&leader);
        members(&leading, |members| members.len() == 2).await;
        Self { leader, leading, worker, following, leave }
    }

    fn start(&self, tasks: &[(&Site, &str)]) -> Job {
        start(&self.leading, &tasks.iter().map(|(site, what)| (site.id(), *what)).collect::<Vec<_>>())
    }

    async fn is_well(&self) {
        let job = self.start(&[(&self.worker, "say 2 8")]);
        assert_eq!(all(job).await.map(|said| said.len()), Ok(2));
    }
}

fn start(leading: &Leading, tasks: &[(String, &str)]) -> Job {
    let task = |(member, what): &(String, &str)| Task { member: member.clone(), what: Bytes::from(what.to_string()) };
    leading.start("a job", tasks.iter().map(task).collect(), Vec::new())
}

/// A job of two stages.
fn exchange(leading: &Leading, tasks: &[(String, &str)], gathers: &[(String, &str)]) -> Job {
    let task = |(member, what): &(String, &str)| Task { member: member.clone(), what: Bytes::from(what.to_string()) };
    leading.start("a job", tasks.iter().map(task).collect(), gathers.iter().map(task).collect())
}

async fn members(leading: &Leading, enough: impl Fn(&[Member]) -> bool) -> Vec<Member> {
    let mut members = leading.members();
    soon(members.wait_for(|members| enough(members))).await.unwrap().clone()
}

/// All that a job says, or how it was lost.
async fn all(mut job: Job) -> Result<Vec<Said>, spout_pipeline::Lost> {
    let mut all = Vec::new();
    while let Some(said) = soon(job.said.next()).await {
        all.push(said?);
    }
    Ok(all)
}
