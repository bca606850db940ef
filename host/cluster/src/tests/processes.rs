//! Two processes: what only a process can do, and what a job costs.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use spout_base::clock;

use super::*;

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
