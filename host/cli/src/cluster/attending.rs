//! Takes part in all pipelines of a store that are to run, as their leader or as a member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use anyhow::Result;
use serde_json::json;
use spout_base::{
    clock::{self, Instant},
    error::{Coded as _, chain},
    owner,
};
use spout_bulk::Bulk;
use spout_cluster::{Attended, Error as ClusterError, Settings, Station, attend};
use spout_keeper::{Provisions, Servers, Wanted, Wish as PipelineWish};
use spout_pipeline::{RunOptions, Until, Update, Worker as Works};
use spout_repo::Leader;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    calling::plans,
    helping::Helping,
    leading::Pipeline,
    seen::{Seen, Told, look},
};
use crate::{
    error::Error,
    print::Printer,
    progress::Progress,
    report::{Report, Reported},
    run::{Signals, Wish},
};

/// How soon to look again at what servers run.
const LOOK_AROUND: Duration = Duration::from_secs(3);

/// A pipeline in which this process takes part.
struct Part {
    made_of: (String, PipelineWish),
    pipeline: Arc<Pipeline>,
    stop: CancellationToken,
    task: JoinHandle<Result<Attended, ClusterError>>,
}

/// This process among those that share the pipelines of a store.
pub(crate) struct All<'a> {
    provisions: Provisions,
    station: Arc<Station>,
    options: RunOptions,
    /// No others than these, until all of them are over; all of the store, without an end, if none are named.
    only: BTreeSet<String>,
    parts: BTreeMap<String, Part>,
    /// Commands that this process helps, unless it waits for the end of pipelines.
    helping: Option<Helping>,
    wanted: Vec<Wanted>,
    /// Servers of the store run pipelines by themselves; when they were looked at, and whether one runs what is wanted here.
    servers: Servers,
    looked: Instant,
    waits: bool,
    over: BTreeSet<String>,
    updates: mpsc::UnboundedSender<Update>,
    seen: &'a Seen,
    progress: Progress,
    printer: &'a mut Printer,
    failed: Option<u8>,
}

/// Takes part in the pipelines of a store until a signal, or, if some are named, until these are over.
pub(super) async fn attend_all(
    provisions: Provisions,
    settings: Settings,
    seen: Seen,
    options: RunOptions,
    only: BTreeSet<String>,
    printer: &mut Printer,
) -> Result<()> {
    let mut signals = Signals::new(printer)?;
    let works = Works::new(provisions.store(), Arc::new(provisions.clone()), options.memory_high);
    let plans = Some(plans(provisions.store()));
    let works = Bulk::new(provisions.store(), Arc::new(works));
    let station = Arc::new(Station::open_with(settings, Arc::new(works), plans).await?);
    station.answers(Arc::new(Told(seen.shared.clone())));
    let helping = only.is_empty().then(|| Helping::new(provisions.store(), &station));
    let address = station.address();
    if printer.json() {
        printer.value(&json!({"event": "worker", "id": station.id(), "address": address}))?;
    } else {
        printer.line(format!("taking part in the pipelines of the store, at {address}"))?;
    }
    let (updates, said) = mpsc::unbounded_channel();
    let progress = Progress::new(printer.is_terminal());
    let all = All {
        wanted: Vec::new(),
        servers: Servers::of(provisions.store()),
        looked: clock::now(),
        waits: false,
        provisions,
        station,
        options,
        only,
        parts: BTreeMap::new(),
        helping,
        over: BTreeSet::new(),
        updates,
        seen: &seen,
        progress,
        printer,
        failed: None,
    };
    let outcome = Box::pin(all.run(said, &mut signals)).await;
    seen.close().await?;
    outcome
}

impl All<'_> {
    async fn run(mut self, mut said: mpsc::UnboundedReceiver<Update>, signals: &mut Signals) -> Result<()> {
        let mut watched = self.provisions.wanted();
        let mut tick = interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            if !stopping {
                match watched.look().await {
                    Ok(Some(wanted)) => {
                        self.wanted = wanted;
                        self.match_up().await;
                    }
                    Ok(None) if self.waits && self.looked.elapsed() > LOOK_AROUND => self.match_up().await,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(code = error.code(), error = chain(&error), "cannot read what is to run");
                    }
                }
            }
            self.reap().await;
            let done = !self.only.is_empty() && self.only.iter().all(|name| self.over.contains(name));
            if let Some(helping) = &mut self.helping {
                helping.look().await;
            }
            let helps = self.helping.as_ref().is_some_and(|helping| !helping.is_over());
            if done || (stopping && self.parts.is_empty() && !helps) {
                break;
            }
            tokio::select! {
                Some(update) = said.recv() => {
                    self.seen.note(&update);
                    self.progress.show(&update, clock::now(), self.printer)?;
                }
                wish = signals.next() => match wish {
                    Wish::Commit => self.seen.shared.committer().all(),
                    Wish::Stop if stopping => return Err(Error::Interrupted.into()),
                    Wish::Stop => {
                        tracing::info!("stopping: what was read is committed, partitions are given back; a second signal stops at once");
                        stopping = true;
                        self.helping.iter().for_each(Helping::stop);
                        self.parts.values().for_each(|part| part.stop.cancel());
                    }
                },
                _ = tick.tick() => self.progress.tick(clock::now(), self.printer)?,
                () = watched.rest(), if !stopping => {}
            }
        }
        while let Ok(update) = said.try_recv() {
            self.progress.show(&update, clock::now(), self.printer)?;
        }
        self.failed.map_or(Ok(()), |exit| Err(Reported(exit).into()))
    }

    /// Begins and ends parts until they are what is wanted.
    async fn match_up(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        self.begin_and_end(&wanted).await;
        self.seen.shared.wanted(&wanted);
        self.wanted = wanted;
    }

    async fn begin_and_end(&mut self, wanted: &[Wanted]) {
        (self.looked, self.waits) = (clock::now(), false);
        if let Err(error) = self.servers.look().await {
            tracing::warn!(code = error.code(), error = chain(&error), "cannot read what servers run");
        }
        let takes = |one: &&Wanted| self.only.is_empty() || self.only.contains(&one.name);
        let wanted: BTreeMap<&str, &Wanted> =
            wanted.iter().filter(takes).filter(|one| one.wish.running).map(|one| (one.name.as_str(), one)).collect();
        let made_of = |one: &Wanted| (one.text.clone(), one.wish.clone());
        let stale =
            |(name, part): &(&String, &Part)| wanted.get(name.as_str()).is_none_or(|one| made_of(one) != part.made_of);
        for name in self.parts.iter().filter(stale).map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Some(part) = self.parts.remove(&name) {
                part.stop.cancel();
                self.ended(&name, part).await;
            }
        }
        for (name, one) in wanted {
            if self.parts.contains_key(name) || self.over.contains(name) {
                continue;
            }
            if let Some(server) = self.servers.running(name) {
                self.waits = true;
                tracing::info!(pipeline = name, %server, "a server of the store runs it; the cluster takes it when that one stops");
                continue;
            }
            match one.load() {
                Ok(loaded) => {
                    let branch = loaded.spec.commit.branch.clone();
                    self.seen.shared.joins(&loaded);
                    self.begin(one, branch);
                }
                Err(error) => self.seen.shared.failed(name, &error),
            }
        }
    }

    fn begin(&mut self, wanted: &Wanted, branch: String) {
        let pipeline = Arc::new(Pipeline {
            provisions: self.provisions.clone(),
            wanted: wanted.clone(),
            branch,
            options: self.options.clone(),
            leader: Leader { id: self.station.id().to_owned(), address: self.station.address() },
            seen: AtomicU64::new(0),
            updates: self.updates.clone(),
            shared: self.seen.shared.clone(),
            led: StdMutex::default(),
            ends: !self.only.is_empty(),
            takes: AtomicBool::new(!self.only.is_empty() && self.options.until != Until::Stopped),
            failed: Mutex::default(),
        });
        let (station, own, stop) = (Arc::clone(&self.station), Arc::clone(&pipeline), CancellationToken::new());
        let (name, stopped) = (wanted.name.clone(), stop.clone());
        let (orders, looks) = (self.seen.shared.orders(&name), self.seen.is_shown());
        let task = owner::spawn(async move {
            let part = async {
                tokio::select! {
                    ended = attend(&station, &name, own.as_ref(), &stopped) => Some(ended),
                    () = look(&own, &station, orders, looks) => None,
                }
            };
            owner::work_for(&name, part).await.unwrap_or(Ok(Attended::Stopped))
        });
        let made_of = (wanted.text.clone(), wanted.wish.clone());
        self.parts.insert(wanted.name.clone(), Part { made_of, pipeline, stop, task });
    }

    async fn reap(&mut self) {
        let over: Vec<String> =
            self.parts.iter().filter(|(_, part)| part.task.is_finished()).map(|(name, _)| name.clone()).collect();
        for name in over {
            if let Some(part) = self.parts.remove(&name) {
                self.ended(&name, part).await;
            }
        }
    }

    /// Takes note of how a part ended.
    async fn ended(&mut self, name: &str, part: Part) {
        let failed = part.pipeline.failed.lock().await.take();
        match part.task.await {
            Ok(Ok(Attended::Stopped)) => {}
            Ok(Ok(Attended::Over)) => {
                self.over.insert(name.to_owned());
                if let Some(error) = failed {
                    self.report(error);
                }
            }
            Ok(Err(error)) => {
                self.seen.shared.failed(name, &error);
                self.over.insert(name.to_owned());
                self.report(anyhow::Error::new(error));
            }
            Err(error) => {
                self.over.insert(name.to_owned());
                self.report(anyhow::Error::new(Error::Runtime { source: error.into() }));
            }
        }
    }

    fn report(&mut self, error: anyhow::Error) {
        if let Some(report) = Report::of(&error) {
            let json = self.printer.json();
            self.progress.aside(|| report.say(json));
            self.failed.get_or_insert(report.exit());
        }
    }
}
