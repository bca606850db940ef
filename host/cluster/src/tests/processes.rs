//! Two processes: what only a process can do, and what a job costs.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use spout_base::clock;

use super::*;
use crate::{Branch, Claimed, Ended, attend};

const LEADER: &str = "SPOUT_CLUSTER_TEST_LEADER";
const USUAL: &str = "SPOUT_CLUSTER_TEST_USUAL_PACE";

/// A process of this test program that is a member of `leader`'s fleet.
struct Process(Child);

impl Process {
    fn start(leader: &Site, usual: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "tests::processes::member"]).env(LEADER, leader.station.address());
        if usual {
            command.env(USUAL, "1");
        }
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What [`Process`] runs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a process of other tests"]
async fn member() {
    let Ok(leader) = std::env::var(LEADER) else { return };
    let pace = if std::env::var_os(USUAL).is_some() { Pace::default() } else { impatient().pace };
    let site = Site::open(Settings { pace, ..settings() }).await.unwrap();
    // Whoever started it ends it.
    loop {
        let _followed = site.station.follow(&leader, FLEET, &CancellationToken::new()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn led(pace: Pace) -> (Site, Leading) {
    let leader = Site::open(Settings { pace, ..settings() }).await.unwrap();
    let leading = leader.station.lead(FLEET).unwrap();
    (leader, leading)
}

async fn other(leader: &Site, leading: &Leading) -> String {
    let members = members(leading, |members| members.len() == 2).await;
    members.into_iter().find(|member| member.id != leader.id()).unwrap().id
}

#[tokio::test]
async fn a_task_runs_in_the_process_of_its_member() {
    let (leader, leading) = led(impatient().pace).await;
    let process = Process::start(&leader, false);
    let id = other(&leader, &leading).await;
    let said = all(start(&leading, &[(id.clone(), "pid")])).await.unwrap();
    assert_eq!(said[0].what, process.0.id().to_string());
    let said = all(start(&leading, &[(leader.id(), "pid")])).await.unwrap();
    assert_eq!(said[0].what, std::process::id().to_string());
}

#[tokio::test]
async fn a_process_that_is_stopped_or_killed_loses_its_job_and_no_other() {
    for signal in [Signal::STOP, Signal::KILL] {
        let (leader, leading) = led(impatient().pace).await;
        let process = Process::start(&leader, false);
        let id = other(&leader, &leading).await;
        let mut job = start(&leading, &[(id.clone(), "hold"), (leader.id(), "hold")]);
        for _ in 0..2 {
            soon(job.said.next()).await.unwrap().unwrap();
        }
        process.signal(signal);
        let lost = soon(job.said.next()).await.unwrap().unwrap_err();
        assert_eq!(lost.member, id);
        members(&leading, |members| members.len() == 1).await;
        soon(leader.doing.idle()).await;
        assert!(all(start(&leading, &[(leader.id(), "say 1 8")])).await.is_ok());
        if signal == Signal::STOP {
            // It wakes up, finds its task ended and itself given up, and joins again.
            process.signal(Signal::CONT);
            let again = other(&leader, &leading).await;
            assert!(all(start(&leading, &[(again, "say 1 8")])).await.is_ok());
        }
    }
}

/// Claims as lines of a file that processes share: the id and the address of each leader.
struct Claims {
    file: std::path::PathBuf,
    station: Arc<Station>,
}

fn claims(file: &std::path::Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(id, at)| (id.into(), at.into())).collect()
}

#[async_trait::async_trait]
impl Branch for Claims {
    async fn newest(&self) -> Result<Option<Claimed>, String> {
        let all = claims(&self.file);
        let epoch = all.len() as u64;
        Ok(all.last().map(|(id, address)| Claimed { epoch, address: Some(address.clone()), id: Some(id.clone()) }))
    }

    async fn lead(&self, _fleet: Leading, stop: &CancellationToken) -> Ended {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.file).unwrap();
        let line = format!("{} {}\n", self.station.id(), self.station.address());
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        let fenced = async {
            while claims(&self.file).last().is_some_and(|(id, _)| id == self.station.id()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            () = fenced => Ended::Fenced,
        }
    }
}

const CLAIMS: &str = "SPOUT_CLUSTER_TEST_CLAIMS";

/// What processes of [`takeover`] run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a process of other tests"]
async fn peer() {
    let Ok(file) = std::env::var(CLAIMS) else { return };
    let site = Site::open(Settings { pace: Pace::default(), ..settings() }).await.unwrap();
    println!("{}", site.id());
    let branch = Claims { file: file.into(), station: Arc::clone(&site.station) };
    attend(&site.station, FLEET, &branch, &CancellationToken::new()).await.unwrap();
}

/// `cargo test … tests::processes::takeover -- --ignored --exact --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn takeover() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("claims");
    let (mut processes, mut output) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "tests::processes::peer"]).env(CLAIMS, &file);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let id = lines.find_map(|line| line.ok().filter(|line| line.len() == 32)).unwrap();
        // Who cannot print what it wants to ends.
        output.push(lines);
        processes.push((id, Process(child)));
    }
    let settled = async |before: usize| {
        let wait = async {
            while claims(&file).len() <= before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(wait).await;
    };
    settled(0).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    for signal in [Signal::STOP, Signal::STOP, Signal::KILL] {
        let before = claims(&file);
        let (leader, _) = before.last().unwrap();
        let at = processes.iter().position(|(id, _)| id == leader).unwrap();
        processes[at].1.signal(signal);
        let since = clock::now();
        settled(before.len()).await;
        println!("claimed {:?} after {signal:?} of the leader", since.elapsed());
        tokio::time::sleep(Duration::from_secs(6)).await;
        let after = claims(&file).len();
        if signal == Signal::STOP {
            processes[at].1.signal(Signal::CONT);
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        println!("{} claims, {} more once it was back", after - before.len(), claims(&file).len() - after);
    }
}

fn at(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// `cargo test … tests::processes::figures -- --ignored --exact --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn figures() {
    let (leader, leading) = led(Pace::default()).await;
    let process = Process::start(&leader, true);
    let id = other(&leader, &leading).await;
    for (name, tasks) in [
        ("an empty job of two processes", vec![(leader.id(), "say 0 8"), (id.clone(), "say 0 8")]),
        ("an empty job of the other process", vec![(id.clone(), "say 0 8")]),
        ("an empty job of the leader alone", vec![(leader.id(), "say 0 8")]),
    ] {
        let mut times = Vec::new();
        for _ in 0..600 {
            let since = clock::now();
            assert!(all(start(&leading, &tasks)).await.is_ok());
            times.push(since.elapsed());
        }
        let times = &mut times[100..];
        println!("{name}: p50 {:?}, p99 {:?}", at(times, 0.5), at(times, 0.99));
    }
    let mut job = start(&leading, &[(id.clone(), "obey")]);
    soon(job.said.next()).await.unwrap().unwrap();
    let mut times = Vec::new();
    for _ in 0..2000 {
        let since = clock::now();
        job.orders.send(Bytes::from_static(b"word")).unwrap();
        soon(job.said.next()).await.unwrap().unwrap();
        times.push(since.elapsed());
    }
    println!("an order there and a word back: p50 {:?}, p99 {:?}", at(&mut times, 0.5), at(&mut times, 0.99));
    drop(job);
    for (count, size) in [(20_000, 1_000), (2_000, 100_000), (400, 1_000_000), (40, 10_000_000)] {
        let since = clock::now();
        let mut job = start(&leading, &[(id.clone(), &*format!("say {count} {size}"))]);
        let mut bytes = 0;
        while let Some(said) = soon(job.said.next()).await {
            bytes += said.unwrap().what.len();
        }
        let rate = bytes as f64 / since.elapsed().as_secs_f64() / 1e6;
        println!("words of {size} bytes: {rate:.0} MB/s, {:.0} a second", count as f64 / since.elapsed().as_secs_f64());
    }
    for signal in [Signal::STOP, Signal::KILL] {
        let id = other(&leader, &leading).await;
        let mut job = start(&leading, &[(id.clone(), "hold")]);
        soon(job.said.next()).await.unwrap().unwrap();
        process.signal(signal);
        let since = clock::now();
        soon(job.said.next()).await.unwrap().unwrap_err();
        println!("lost {:?} after {signal:?}", since.elapsed());
        if signal == Signal::STOP {
            members(&leading, |members| members.len() == 1).await;
            process.signal(Signal::CONT);
        }
    }
}
