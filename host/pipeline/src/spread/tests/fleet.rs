//! A fleet in one process, whose members can be made to join, leave, hang and die.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use spout_repo::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{Builds, Fleet, Job, Lost, Member, Said, Says, Task, Worker, Works as _};
use serde_json::Value;

use super::TestBuilds;

/// A member that is there.
#[derive(Clone, Debug)]
struct There {
    worker: Worker,
    labels: BTreeMap<String, String>,
    dead: CancellationToken,
}

/// The members of a test.
#[derive(Clone, Debug)]
pub(super) struct LocalFleet {
    store: Store,
    all: Arc<Mutex<BTreeMap<String, There>>>,
    there: Arc<watch::Sender<Vec<Member>>>,
    /// What each task was, and whose.
    pub(super) tasks: Arc<Mutex<Vec<(String, Value)>>>,
    named: Arc<AtomicU64>,
}

impl LocalFleet {
    /// Nobody yet, of those who share the work on `store`.
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            all: Arc::default(),
            there: Arc::new(watch::channel(Vec::new()).0),
            tasks: Arc::default(),
            named: Arc::default(),
        }
    }

    /// Another process comes; its id.
    pub(super) fn join(&self) -> String {
        self.join_with(&[])
    }

    /// Another process comes, of which this is said; its id.
    pub(super) fn join_with(&self, labels: &[(&str, &str)]) -> String {
        self.add(Arc::new(TestBuilds), labels)
    }

    /// Another process comes, which builds pipelines in this way; its id.
    pub(super) fn join_building(&self, builds: Arc<dyn Builds>) -> String {
        self.add(builds, &[])
    }

    fn add(&self, builds: Arc<dyn Builds>, labels: &[(&str, &str)]) -> String {
        let id = format!("m{:03}", self.named.fetch_add(1, Ordering::Relaxed));
        let worker = Worker::new(&self.store, builds, None);
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.all.lock().unwrap().insert(id.clone(), There { worker, labels, dead: CancellationToken::new() });
        self.tell();
        id
    }

    /// A process dies: its tasks are lost, and what it had taken with them.
    pub(super) fn kill(&self, id: &str) {
        if let Some(there) = self.all.lock().unwrap().remove(id) {
            there.dead.cancel();
        }
        self.tell();
    }

    /// Those that are there.
    pub(super) fn ids(&self) -> Vec<String> {
        self.all.lock().unwrap().keys().cloned().collect()
    }

    fn tell(&self) {
        let all = self.all.lock().unwrap().clone();
        let member = |(id, there): (String, There)| Member { id, labels: there.labels, ..Member::default() };
        let members = all.into_iter().map(member).collect();
        self.there.send_replace(members);
    }

    /// Does a task; what it gets from others, if it is a gather.
    fn task(
        &self,
        task: &Task,
        orders: BoxStream<'static, Bytes>,
        from: Option<BoxStream<'static, Result<Bytes, Lost>>>,
    ) -> BoxStream<'static, Result<Says, Lost>> {
        let member = task.member.clone();
        let lost = move |reason: String| Lost { member: member.clone(), reason };
        let Some(There { worker, dead, .. }) = self.all.lock().unwrap().get(&task.member).cloned() else {
            return stream::once(std::future::ready(Err(lost("there is no such member".into())))).boxed();
        };
        let head = head(&task.what);
        self.tasks.lock().unwrap().push((task.member.clone(), head));
        let (after, killed) = (lost.clone(), lost("killed".into()));
        let said = match from {
            None => worker.work(task.what.clone(), orders),
            Some(from) => worker.gather(task.what.clone(), orders, from).map(|said| said.map(Says::to_leader)).boxed(),
        };
        let said = said.map(move |said| said.map_err(&after));
        let dies = async move {
            dead.cancelled().await;
            Err(killed)
        };
        // Words that were said before may arrive or not.
        stream::select(said.map(Some), dies.into_stream().map(Some))
            .take_while(|said| std::future::ready(said.is_some()))
            .filter_map(std::future::ready)
            .boxed()
    }
}

impl Fleet for LocalFleet {
    fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.there.subscribe()
    }

    fn start(&self, _name: &str, tasks: Vec<Task>, gathers: Vec<Task>) -> Job {
        let (orders, mut ordered) = mpsc::unbounded_channel::<Bytes>();
        let mut each = Vec::new();
        let (said, says) = mpsc::channel::<Result<Said, Lost>>(1);
        let (senders, mut receivers): (Vec<_>, Vec<_>) = gathers.iter().map(|_| mpsc::unbounded_channel()).unzip();
        receivers.reverse();
        for (number, task) in tasks.iter().chain(&gathers).enumerate() {
            let (order, own) = mpsc::unbounded_channel();
            each.push(order);
            let own = stream::unfold(own, async |mut own| Some((own.recv().await?, own))).boxed();
            let from = (number >= tasks.len()).then(|| receivers.pop().unwrap());
            let from = from.map(|from| stream::unfold(from, async |mut from| Some((from.recv().await?, from))).boxed());
            let senders = if number < tasks.len() { senders.clone() } else { Vec::new() };
            let (mut words, said) = (self.task(task, own, from), said.clone());
            let worker = self.all.lock().unwrap().get(&task.member).cloned();
            tokio::spawn(async move {
                let _alive = worker;
                loop {
                    let word = tokio::select! {
                        word = words.next() => word,
                        () = said.closed() => return,
                    };
                    match word {
                        // One that is over takes nothing.
                        Some(Ok(Says { to: Some(to), what })) => drop(senders[to].send(Ok(what))),
                        Some(Ok(Says { to: None, what })) => {
                            // The last of its words is that its files are durable.
                            let last = head(&what)["word"] == "files";
                            if said.send(Ok(Said { task: number, what })).await.is_err() || last {
                                return;
                            }
                        }
                        Some(Err(lost)) => return drop(said.send(Err(lost)).await),
                        None => return,
                    }
                }
            });
        }
        tokio::spawn(async move {
            while let Some(order) = ordered.recv().await {
                each.iter().for_each(|own| drop(own.send(order.clone())));
            }
        });
        Job { said: stream::unfold(says, async |mut says| Some((says.recv().await?, says))).boxed(), orders }
    }
}

/// The head of a frame.
fn head(frame: &[u8]) -> Value {
    let length = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
    serde_json::from_slice(&frame[4..4 + length]).unwrap()
}
