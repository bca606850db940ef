//! This process as others see it: its port, what it does for leaders, and what it leads.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use datafusion_distributed::Worker;
use spout_base::{clock, error::chain, owner};
use spout_pipeline::{Member, Works};
use spout_wire::{Crowd, Gate};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ask::{self, Answers},
    engine::{self, Address, Others, Peer, Plans, Route},
    error::Error,
    follow::{self, Followed},
    link::{Link, Transport, Wants},
    member,
    roster::{Leading, Roster},
    settings::{Settings, Token},
};

/// Connections of a process at once: three for each of a thousand members.
const CROWD: Crowd = Crowd { most: 3072, per_address: None };
/// Connections of leaders that wait for the engine to take them.
const WAITING: usize = 64;

/// What all connections of a station know.
pub(crate) struct Shared {
    pub(crate) own: Member,
    pub(crate) address: Address,
    pub(crate) token: Token,
    pub(crate) version: String,
    pub(crate) transport: Transport,
    worker: Worker,
    led: Mutex<BTreeMap<String, Weak<Roster>>>,
    /// What answers others about it.
    pub(crate) answers: OnceLock<Arc<dyn Answers>>,
}

impl Shared {
    /// The fleet `fleet`, if this process leads it.
    pub(crate) fn led(&self, fleet: &str) -> Option<Arc<Roster>> {
        let led = self.led.lock().unwrap_or_else(PoisonError::into_inner);
        led.get(fleet).and_then(Weak::upgrade).filter(|roster| !roster.over.is_cancelled())
    }
}

/// A process in fleets, until it is dropped.
pub struct Station {
    shared: Arc<Shared>,
    listening: AbortHandle,
    closed: CancellationToken,
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { own, address, .. } = &*self.shared;
        f.debug_struct("Station").field("id", &own.id).field("address", address).finish_non_exhaustive()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.listening.abort();
        self.closed.cancel();
    }
}

impl Station {
    /// Listens as `settings` say; `works` does the tasks of leaders.
    ///
    /// # Errors
    /// Settings that cannot be used, and a port that cannot be listened at.
    pub async fn open(settings: Settings, works: Arc<dyn Works>) -> Result<Self, Error> {
        Self::open_with(settings, works, None).await
    }

    /// The same; where there are `plans`, it does its share of queries too.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(settings: Settings, works: Arc<dyn Works>, plans: Option<Plans>) -> Result<Self, Error> {
        let Settings { listen, advertise, labels, token, certificates, version, pace } = settings;
        let transport = Transport::new(certificates.as_ref(), pace)?;
        if transport.identity.is_none() && !listen.ip().is_loopback() {
            return Err(Error::Open { address: listen.to_string() });
        }
        let failed = |error: std::io::Error| Error::Listen { address: listen.to_string(), why: error.to_string() };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let address = match advertise {
            None if bound.ip().is_unspecified() => {
                let why = "others cannot dial it; say with --advertise where they reach this process".to_owned();
                return Err(Error::Address { address: bound.to_string(), why });
            }
            None => bound.to_string(),
            Some(address) => address,
        };
        let why = "it has to be HOST:PORT".to_owned();
        let address = Address::parse(&address).ok_or(Error::Address { address, why })?;
        if transport.identity.is_none() && !address.is_loopback() {
            return Err(Error::Open { address: address.to_string() });
        }
        let own = Member { id: clock::nonce(), address: address.to_string(), labels, leaves: false };
        let worker = engine::worker(works, plans, Others::new(&transport, &token), &version);
        let (led, answers) = (Mutex::default(), OnceLock::new());
        let shared = Arc::new(Shared { own, address, token, version, transport, worker, led, answers });
        let closed = CancellationToken::new();
        let listening = owner::spawn(listen_at(listener, Arc::clone(&shared), closed.clone())).abort_handle();
        Ok(Self { shared, listening, closed })
    }

    /// Its id, new with each start.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.own.id
    }

    /// Where others reach it, as `host:port`: what a claim says.
    #[must_use]
    pub fn address(&self) -> String {
        self.shared.address.to_string()
    }

    /// Leads `fleet` until the answer is dropped: members may join, and tasks be started on them.
    ///
    /// # Errors
    /// If this process leads it already.
    pub fn lead(&self, fleet: &str) -> Result<Leading, Error> {
        let mut led = self.shared.led.lock().unwrap_or_else(PoisonError::into_inner);
        led.retain(|_, roster| roster.upgrade().is_some_and(|roster| !roster.over.is_cancelled()));
        let Entry::Vacant(free) = led.entry(fleet.to_owned()) else {
            return Err(Error::Twice { fleet: fleet.to_owned() });
        };
        let own = self.shared.own.clone();
        let here = Route::Here(Box::new(self.shared.worker.clone()));
        let peer = Arc::new(Peer::new(own.id.clone(), self.shared.address.clone(), here));
        let roster = Arc::new(Roster::new(fleet.to_owned(), own, peer));
        free.insert(Arc::downgrade(&roster));
        Ok(Leading::new(roster))
    }

    /// Is a member of `fleet`, which the process at `leader` leads, until that ends. Once `leave` is cancelled, it gives back what it
    /// has, and the answer is [`Followed::Left`].
    ///
    /// # Errors
    /// If it does not become one.
    pub async fn follow(&self, leader: &str, fleet: &str, leave: &CancellationToken) -> Result<Followed, Error> {
        Box::pin(follow::follow(&self.shared, leader, fleet, leave)).await
    }

    /// From now on `answers` says what others ask about what this process leads; the first one stays.
    pub fn answers(&self, answers: Arc<dyn Answers>) {
        // Who asked before was told that it is not led here.
        drop(self.shared.answers.set(answers));
    }

    /// What the process at `leader` answers to `asked` about `fleet`; none where it does not lead it.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn ask(&self, leader: &str, fleet: &str, asked: &str) -> Result<Option<String>, Error> {
        Box::pin(ask::ask(&self.shared, leader, fleet, asked)).await
    }

    pub(crate) fn pace(&self) -> crate::settings::Pace {
        self.shared.transport.pace
    }
}

/// Takes connections until this is aborted; what they are for ends with it.
async fn listen_at(listener: TcpListener, shared: Arc<Shared>, closed: CancellationToken) {
    let gate = Gate::new("the port of the fleet", "the limit of open files", CROWD, 1);
    let (tasks, links) = mpsc::channel(WAITING);
    let mut served = JoinSet::new();
    served.spawn(owner::of_same(engine::serve(
        shared.worker.clone(),
        shared.token.clone(),
        shared.transport.pace,
        links,
    )));
    loop {
        let (stream, from, admitted) = tokio::select! {
            accepted = gate.accept(&listener) => accepted,
            Some(_) = served.join_next() => continue,
        };
        let Ok(permit) = admitted else { continue };
        let (shared, tasks, closed) = (Arc::clone(&shared), tasks.clone(), closed.clone());
        served.spawn(owner::of_same(async move {
            match Link::take(stream, permit, &shared.transport, &closed).await {
                Ok(Wants::Membership(link)) => Box::pin(member::attend(link, &shared)).await,
                Ok(Wants::Tasks(link)) => drop(tasks.send(link).await),
                Err(error) => tracing::debug!(%from, "refused a connection: {}", chain(&error)),
            }
        }));
    }
}
