//! Reads partitions, many at once: one connection a broker, over which one request at a time asks for all of them, also ahead of
//! the host's next call.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{Answered, Error, Limits, Messages, Position, Result, SharedReader, now, warn};

use crate::{
    cluster::Cluster,
    connection::{Answer, Connection},
    group::Group,
    records::{Budget, Records, Unreadable},
    settings::Isolation,
    stock::{Stock, is_of_another, position},
    trouble::{self, Meaning, garbage, meaning},
    wire::{Ask, FETCH, FetchAnswer, FetchRequest, Fetched, TopicId},
};

/// Bytes that may lie here before no more are asked for.
const ROOM: usize = 16 << 20;
/// A partition that is not wanted for so long is given up.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// A broker that failed is not tried again before.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a broker may wait for messages if others of it are here already. Not at all would be too short for some brokers: they
/// answer before they have looked.
const SHORT: Duration = Duration::from_millis(10);

/// A broker that leads partitions.
#[derive(Debug, Default)]
struct Leader {
    connection: Option<Connection>,
    /// What was asked of it and not yet answered.
    asked: BTreeMap<u32, u64>,
    /// The last partition that an answer had records of: brokers go through a request in its order, and stop when they have enough.
    turn: u32,
    /// It is not tried before.
    pause: Option<Instant>,
}

/// Reads partitions.
#[derive(Debug)]
pub struct Reader {
    cluster: Cluster,
    group: Option<Group>,
    leaders: BTreeMap<String, Leader>,
    stocks: BTreeMap<u32, Stock>,
}

impl Reader {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let group = cluster.settings.group_id.clone().map(Group::new);
        Self { cluster, group, leaders: BTreeMap::new(), stocks: BTreeMap::new() }
    }

    /// Fills `take` from the stocks until it says that there is enough or `timeout` is over, and asks for more.
    ///
    /// # Errors
    /// Nobody knows anything of the topic.
    fn gather(
        &mut self,
        wanted: &[(u32, Position)],
        timeout: Duration,
        mut take: impl FnMut(&mut Self, Instant) -> bool,
    ) -> Result<()> {
        let begun = now();
        let until = begun + timeout;
        let last = until + self.cluster.settings.request_timeout();
        for (partition, start) in wanted {
            self.stocks.entry(*partition).or_insert_with(|| Stock::new(start.offset, begun)).want(start.offset, begun);
        }
        self.stocks.retain(|_, stock| begun.saturating_duration_since(stock.wanted) < FORGOTTEN);
        loop {
            self.cluster.topic(last)?;
            if take(self, last) {
                break;
            }
            self.ask(last);
            let came = self.receive(until);
            if now() >= until && !came {
                break;
            }
        }
        self.ask(last);
        Ok(())
    }

    /// Asks each broker for the partitions of which nothing is here, unless it has not answered yet.
    fn ask(&mut self, until: Instant) {
        let Ok(topic) = self.cluster.topic(until).cloned() else { return };
        let mut by_leader: BTreeMap<&str, (Vec<Ask>, bool)> = BTreeMap::new();
        let full = self.stocks.values().map(Stock::bytes).sum::<usize>() >= ROOM;
        for (partition, stock) in &mut self.stocks {
            let Some(address) = topic.leader(*partition) else {
                stock.error.get_or_insert_with(|| {
                    Error::retriable(
                        "kafka.leader",
                        format!("topic `{}`, partition {partition} has no leader now", self.cluster.name),
                    )
                });
                self.cluster.forget();
                continue;
            };
            let (asks, holds) = by_leader.entry(address).or_default();
            if stock.is_empty() && stock.pause.is_none_or(|pause| pause <= now()) {
                asks.push(Ask { partition: *partition, offset: stock.next });
            } else {
                *holds = true;
            }
        }
        self.leaders.retain(|address, _| by_leader.contains_key(address.as_str()));
        for (address, (asks, holds)) in by_leader {
            if asks.is_empty() || full {
                continue;
            }
            // Whoever has something is not kept waiting by those who have nothing.
            let most = self.cluster.settings.fetch_max_wait();
            let wait = if holds { most.min(SHORT) } else { most };
            if let Err(error) = self.ask_one(address, asks, topic.id, wait, until) {
                self.lost(address, &error);
            }
        }
    }

    fn ask_one(
        &mut self,
        address: &str,
        mut asks: Vec<Ask>,
        id: Option<TopicId>,
        wait: Duration,
        until: Instant,
    ) -> Result<()> {
        let settings = &self.cluster.settings;
        let leader = self.leaders.entry(address.to_owned()).or_default();
        if leader.connection.as_ref().is_some_and(Connection::is_waiting)
            || leader.pause.is_some_and(|pause| pause > now())
        {
            return Ok(());
        }
        leader.pause = None;
        let (first, count) = (asks.partition_point(|ask| ask.partition <= leader.turn), asks.len().max(1));
        asks.rotate_left(first % count);
        let connection = match &mut leader.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(address, settings, until)?),
        };
        let bytes = |bytes: u32| i32::try_from(bytes).unwrap_or(i32::MAX);
        let request = FetchRequest {
            topic: &self.cluster.name,
            id: &id.unwrap_or_default(),
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: bytes(settings.fetch_min_bytes),
            max_bytes: bytes(settings.fetch_max_bytes),
            partition_max_bytes: bytes(settings.max_partition_fetch_bytes),
            isolation: self.cluster.isolation(),
            wanted: &asks,
        };
        let answered_by = now() + wait + settings.request_timeout();
        connection.send(FETCH, answered_by, |out, version| request.write(out, version))?;
        leader.asked = asks.into_iter().map(|ask| (ask.partition, ask.offset)).collect();
        Ok(())
    }

    /// Takes answers that have come, or waits for the first until `until`; whether one came, or a broker failed.
    fn receive(&mut self, until: Instant) -> bool {
        let mut came = false;
        loop {
            let waiting: Vec<String> = self
                .leaders
                .iter()
                .filter(|(_, leader)| leader.is_waiting())
                .map(|(address, _)| address.clone())
                .collect();
            if waiting.is_empty() {
                // Nobody was asked: all failed a moment ago, or there is no room.
                let left = until.saturating_duration_since(now());
                if !came && !left.is_zero() {
                    spout_guest::pause(left.min(PAUSE));
                }
                return came;
            }
            if !came {
                let waiting = self.leaders.values().filter(|leader| leader.is_waiting());
                let soonest = self.leaders.values().filter_map(Leader::answered_by).min().unwrap_or(until);
                Connection::wait_any(waiting.filter_map(|leader| leader.connection.as_ref()), until.min(soonest));
            }
            for address in &waiting {
                let Some(connection) = self.leaders.get_mut(address).and_then(|leader| leader.connection.as_mut())
                else {
                    continue;
                };
                match connection.wait(now()) {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        came = true;
                        if let Err(error) = self.take(address, answer) {
                            self.lost(address, &error);
                        }
                    }
                    Err(error) => {
                        came = true;
                        self.lost(address, &error);
                    }
                }
            }
            if came || now() >= until || spout_guest::draining() {
                return came;
            }
        }
    }

    /// What the broker at `address` was asked for is told this error, and it is asked who leads now.
    fn lost(&mut self, address: &str, error: &Error) {
        self.cluster.forget();
        let leader = self.leaders.entry(address.to_owned()).or_default();
        *leader = Leader { pause: Some(now() + PAUSE), ..Leader::default() };
        let Ok(topic) = self.cluster.known() else { return };
        for (partition, stock) in &mut self.stocks {
            if topic.leader(*partition) == Some(address) && stock.is_empty() {
                stock.error = Some(error.clone());
            }
        }
    }

    /// Takes an answer of the broker at `address`.
    fn take(&mut self, address: &str, (input, version): Answer) -> Result<()> {
        let answer = FetchAnswer::read(input, version).map_err(|what| garbage(address, what))?;
        if answer.code != 0 {
            return Err(trouble::refused("fetching", answer.code));
        }
        let asked = self.leaders.get_mut(address).map(|leader| std::mem::take(&mut leader.asked)).unwrap_or_default();
        let had = answer.partitions.iter().rev().find(|fetched| !fetched.records.is_empty());
        if let (Some(had), Some(leader)) = (had, self.leaders.get_mut(address)) {
            leader.turn = had.partition;
        }
        for fetched in answer.partitions {
            let Some(offset) = asked.get(&fetched.partition) else {
                return Err(garbage(address, format!("partition {}, which was not asked for", fetched.partition)));
            };
            self.put(Ask { partition: fetched.partition, offset: *offset }, fetched);
        }
        Ok(())
    }

    fn put(&mut self, ask: Ask, fetched: Fetched) {
        let settings = &self.cluster.settings;
        let committed = settings.isolation_level == Isolation::ReadCommitted;
        let Some(stock) = self.stocks.get_mut(&ask.partition) else { return };
        if fetched.code == 0 {
            let end = if committed { fetched.last_stable } else { fetched.high_watermark };
            let aborted = committed.then_some(fetched.aborted);
            let records = Records::new(fetched.records, ask.offset, aborted, settings.check_crcs);
            return stock.fill(ask.offset, records, u64::try_from(end).ok());
        }
        if ask.offset != stock.next {
            return;
        }
        let doing = format!("topic `{}`, partition {}, offset {}", self.cluster.name, ask.partition, ask.offset);
        match meaning(fetched.code) {
            // The range is asked for when the host is told.
            Meaning::OutOfRange => {
                stock.error = Some(Error::OutOfRange { earliest: Position::default(), latest: Position::default() })
            }
            Meaning::Refresh => {
                // A new leader may be known in a moment: only what lasts is told.
                if stock.pause.replace(now() + PAUSE).is_some() {
                    stock.error = Some(trouble::refused(&doing, fetched.code));
                    stock.pause = None;
                }
                self.cluster.forget();
            }
            Meaning::Retry | Meaning::Fatal => stock.error = Some(trouble::refused(&doing, fetched.code)),
        }
    }

    /// What `partition` has to say now; none if that is nothing yet.
    fn serve(
        &mut self,
        partition: u32,
        start: &Position,
        budget: &mut Budget,
        until: Instant,
    ) -> Option<Result<spout_guest::Fetched>> {
        let id = self.cluster.known().ok().and_then(|topic| topic.id);
        if is_of_another(start, id) {
            return Some(Err(self.made_anew(partition, id, until)));
        }
        let name = &self.cluster.name;
        let stock = self.stocks.get_mut(&partition)?;
        match stock.error.take() {
            Some(Error::OutOfRange { .. }) => return Some(Err(self.out_of_range(partition, id, until))),
            Some(error) => return Some(Err(error)),
            None => {}
        }
        let mut messages = Messages::default();
        match stock.drain(&mut messages, budget, None) {
            Ok(false) => None,
            Ok(true) => Some(Ok(stock.answer(messages, id))),
            Err(wrong) => Some(Err(unreadable(name, partition, stock.next, wrong))),
        }
    }

    /// The range that there is instead.
    fn out_of_range(&mut self, partition: u32, id: Option<TopicId>, until: Instant) -> Error {
        match self.cluster.range(partition, until) {
            Ok((earliest, latest)) => {
                Error::OutOfRange { earliest: position(earliest, id), latest: position(latest, id) }
            }
            Err(error) => error,
        }
    }

    /// A position is of a topic that was deleted; another has its name.
    fn made_anew(&mut self, partition: u32, id: Option<TopicId>, until: Instant) -> Error {
        let name = self.cluster.name.clone();
        if self.cluster.known().is_ok_and(|topic| !topic.leaders.contains_key(&partition)) {
            let what = format!("topic `{name}` was deleted and made anew, without partition {partition}");
            return Error::fatal("kafka.topic", what);
        }
        warn!(
            "topic `{name}` was deleted and made anew: partition {partition} has none of the messages that were to come next"
        );
        if let Some(stock) = self.stocks.get_mut(&partition) {
            stock.clear();
        }
        self.out_of_range(partition, id, until)
    }
}

impl Leader {
    fn answered_by(&self) -> Option<Instant> {
        self.connection.as_ref().and_then(Connection::answered_by)
    }

    fn is_waiting(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_waiting)
    }
}

/// Records that cannot be read stop the pipeline: asking again gives the same.
fn unreadable(topic: &str, partition: u32, offset: u64, wrong: Unreadable) -> Error {
    let place = format!("topic `{topic}`, partition {partition}, offset {offset}");
    match wrong {
        Unreadable::Malformed(what) => Error::fatal("kafka.records", format!("{place}: {what}")),
        Unreadable::Magic(magic) => Error::fatal(
            "kafka.magic",
            format!("{place}: a message of format {magic}, which brokers before 0.11 wrote; only format 2 is read"),
        ),
    }
}

impl SharedReader for Reader {
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        let mut answers: Vec<Answered> = Vec::new();
        let mut budget = Budget { messages: limits.messages, bytes: limits.bytes, first: true };
        self.gather(wanted, limits.timeout, |reader, until| {
            for (partition, start) in wanted {
                if budget.messages == 0 || budget.bytes == 0 {
                    break;
                }
                answers.extend(reader.serve(*partition, start, &mut budget, until).map(|answer| (*partition, answer)));
            }
            !answers.is_empty()
        })?;
        if answers.is_empty() {
            let id = self.cluster.known().ok().and_then(|topic| topic.id);
            let idle = |(partition, start): &(u32, Position)| {
                let stock =
                    self.stocks.get(partition).filter(|stock| stock.next == start.offset && stock.end.is_some())?;
                Some((*partition, Ok(stock.answer(Messages::default(), id))))
            };
            answers.extend(wanted.iter().filter_map(idle));
        }
        all_alike(answers)
    }

    fn committed(&mut self, upto: &[(u32, Position)]) -> Result<()> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let until = now() + self.cluster.settings.request_timeout();
        let upto: Vec<_> = upto.iter().map(|(partition, position)| (*partition, position.offset)).collect();
        group.commit(&mut self.cluster, &upto, until)
    }
}

/// One error instead of many that say the same.
fn all_alike(answers: Vec<Answered>) -> Result<Vec<Answered>> {
    match answers.as_slice() {
        [(_, Err(first @ Error::Retriable { .. })), _, ..]
            if answers.iter().all(|(_, one)| one.as_ref().err() == Some(first)) =>
        {
            Err(first.clone())
        }
        _ => Ok(answers),
    }
}
