//! Processes that share the pipelines of a store: on hosts of their own, over cables that can be cut.

use std::{
    fs::File,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use spout_tests::{
    Site,
    cables::{Cables, Way},
    clustered,
    namespaces::Hosts,
    seaweed::Seaweed,
    tls,
};

/// What cables to the store lead to.
pub(super) const STORE: &str = "store";
/// Where each worker listens on its host.
const PORT: u16 = 7700;
/// How long nothing may happen of what is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the binary knows `spout worker`. It says so where it does not; with `SPOUT_TEST_CLUSTER=required` that is an error.
pub(super) fn built() -> Result<bool> {
    let output = Command::new(clustered()).args(["worker", "--help"]).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let required = std::env::var_os("SPOUT_TEST_CLUSTER").is_some();
        ensure!(!required, "{} was built without the feature `cluster`", clustered().display());
        println!("SKIPPED: this binary was built without the feature `cluster`");
    }
    Ok(output.status.success())
}

/// Where the store of a fleet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In a directory that all hosts see.
    Directory,
    /// In SeaweedFS, which each host reaches over a cable of its own.
    Bucket,
}

/// The processes, and what is between them.
pub(super) struct Fleet {
    pub(super) site: Site,
    hosts: Hosts,
    pub(super) cables: Cables,
    workers: Vec<Worker>,
    _seaweed: Option<Seaweed>,
}

struct Worker {
    /// None while it is dead.
    child: Option<Child>,
    /// Where the others reach it: a cable.
    advertised: SocketAddr,
    address: IpAddr,
    log: PathBuf,
}

/// The words of the command line. What the binary calls its flags is said here and nowhere else.
fn worker(site: &Site, listen: SocketAddr, advertise: SocketAddr) -> Command {
    let (listen, advertise) = (listen.to_string(), advertise.to_string());
    let file = |name: &str| site.path().join(name).display().to_string();
    let (token, cert, key, ca) = (file("token"), file("tls/worker.pem"), file("tls/worker.key"), file("tls/ca.pem"));
    let mut args = vec!["worker", "--listen", &listen, "--advertise", &advertise, "--join-token", &token];
    args.extend(["--cert", &cert, "--key", &key, "--ca", &ca, "--json"]);
    site.command_of(&clustered(), &args)
}

impl Fleet {
    /// Starts `count` workers. `None`, with a line that says why, where that is not possible here.
    pub(super) fn start(count: u8, kept: Kept) -> Result<Option<Self>> {
        if !built()? {
            return Ok(None);
        }
        let Some(hosts) = Hosts::start(count)? else { return Ok(None) };
        let (mut site, cables) = (Site::new()?, Cables::default());
        let seaweed = match kept {
            Kept::Directory => None,
            Kept::Bucket => {
                let Some(seaweed) = Seaweed::start("spout")? else { return Ok(None) };
                let led = cables.lead(hosts.hub(), STORE, seaweed.address().parse()?)?;
                site.store = "s3://spout/store".to_owned();
                site.environment = bucket(led);
                Some(seaweed)
            }
        };
        site.write("token", "a token of this test: 0123456789abcdef")?;
        tls::fleet(&site.path().join("tls"), hosts.hub())?;
        let mut workers = Vec::new();
        for number in 0..usize::from(count) {
            let address = hosts.address(number)?;
            let advertised = cables.lead(hosts.hub(), &place(number), (address, PORT).into())?;
            let log = site.path().join(format!("worker-{number}.log"));
            workers.push(Worker { child: None, advertised, address: address.into(), log });
        }
        let mut fleet = Self { site, hosts, cables, workers, _seaweed: seaweed };
        (0..usize::from(count)).try_for_each(|number| fleet.wake(number))?;
        Ok(Some(fleet))
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Where every host reaches what is at `address`, over cables to `place`.
    pub(super) fn lead(&self, place: &str, address: SocketAddr) -> Result<SocketAddr> {
        self.cables.lead(self.hosts.hub(), place, address)
    }

    /// The worker that others reach at this address.
    pub(super) fn at(&self, address: &str) -> Result<usize> {
        let found = self.workers.iter().position(|worker| worker.advertised.to_string() == address);
        found.with_context(|| format!("no worker is at {address}"))
    }

    /// Starts a worker that is dead.
    pub(super) fn wake(&mut self, number: usize) -> Result<()> {
        let listen = SocketAddr::from((self.hosts.address(number)?, PORT));
        let host = self.workers.get_mut(number).context("no such worker")?;
        let mut command = self.hosts.on(number, &worker(&self.site, listen, host.advertised))?;
        let log = File::options().create(true).append(true).open(&host.log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        host.child = Some(child);
        Ok(())
    }

    /// Kills a worker as `kill -9` does.
    pub(super) fn kill(&mut self, number: usize) -> Result<()> {
        let worker = self.workers.get_mut(number).context("no such worker")?;
        if let Some(mut child) = worker.child.take() {
            let ended = child.try_wait()?;
            child.kill()?;
            child.wait()?;
            // A process that is told to lead, or not to, does not end by that; nor by being fenced, or cut off.
            ensure!(ended.is_none(), "worker {number} ended by itself: {ended:?}\n{}", tail(&worker.log));
        }
        Ok(())
    }

    /// Kills all of them.
    pub(super) fn kill_all(&mut self) -> Result<()> {
        (0..self.len()).try_for_each(|number| self.kill(number))
    }

    /// Sends a signal by name, as `kill` does: `STOP` and `CONT`.
    pub(super) fn signal(&self, number: usize, name: &str) -> Result<()> {
        let worker = self.workers.get(number).context("no such worker")?;
        let child = worker.child.as_ref().context("it is dead")?;
        let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name} of worker {number} failed");
        Ok(())
    }

    /// The cable of a worker to the store, or to another worker, is like this from now on: `there` is what it sends, `back` what it gets.
    pub(super) fn cable(&self, from: usize, to: &str, there: Way, back: Way) -> Result<()> {
        let worker = self.workers.get(from).context("no such worker")?;
        self.cables.set(worker.address, to, there, back);
        Ok(())
    }

    /// The cables of a worker to all others, and of all others to it, are like this: `out` is what it sends.
    pub(super) fn apart(&self, number: usize, out: Way, into: Way) -> Result<()> {
        for other in (0..self.len()).filter(|other| *other != number) {
            self.cable(number, &place(other), out, into)?;
            self.cable(other, &place(number), into, out)?;
        }
        Ok(())
    }

    /// Whether a worker has said this.
    pub(super) fn says(&self, what: &str) -> bool {
        let said = |worker: &Worker| std::fs::read_to_string(&worker.log).is_ok_and(|log| log.contains(what));
        self.workers.iter().any(said)
    }

    /// Waits until a query says so much, as long as it says more and more.
    pub(super) fn reaches(&self, sql: &str, expected: u64) -> Result<()> {
        let (mut until, mut last) = (Instant::now() + PATIENCE, None);
        while Instant::now() < until {
            // There may be no commit yet.
            let found = self.site.number(sql, None).ok();
            if found.is_some_and(|found| found >= expected) {
                return Ok(());
            }
            if found > last {
                (until, last) = (Instant::now() + PATIENCE, found);
            }
            thread::park_timeout(Duration::from_millis(200));
        }
        let logs: Vec<String> = self.workers.iter().map(|worker| tail(&worker.log)).collect();
        bail!("{sql} is {last:?}, not {expected}\n{}", logs.join("\n--\n"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// What cables to this worker lead to.
pub(super) fn place(worker: usize) -> String {
    format!("worker {worker}")
}

/// What a process needs to know to use a bucket service at this address.
pub(super) fn bucket(address: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "very-secret-0123456789".to_owned()),
    ]
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
