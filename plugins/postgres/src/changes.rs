//! The stream of changes out of the slot.

use std::{
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use spout_guest::{Error, Position, Result, now, pause};

use crate::{
    Lsn, Settings, catalog,
    change::{Change, Item, Table, filled},
    fault::{self, Report},
    frame::{self, Replicated, Wrong},
    pgoutput::{self, Logical, Old, Relation, Tuple},
    place::Place,
    render::{Deed, Transaction},
    session::{Session, literal, name, text},
};

/// How often the server hears from us, as long as changes are fetched.
const STATUS: Duration = Duration::from_secs(5);
/// How often the server is asked how far its log goes, as long as there are changes to fetch.
const LOOK: Duration = Duration::from_secs(5);
/// How long the server may say nothing after it was asked.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a reader of the slot that has just gone may still be there.
const LEAVING: Duration = Duration::from_secs(2);
/// How much log that holds nothing for us passes before that counts as progress.
pub(crate) const STEP: u64 = 1 << 20;
/// Microseconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800_000_000;

/// A replication stream.
#[derive(Debug)]
pub(crate) struct Changes {
    session: Session,
    settings: Settings,
    tables: HashMap<u32, Rc<Table>>,
    transaction: Option<Transaction>,
    /// Changes of the transaction that came.
    count: u64,
    /// Changes of the first transaction that were given before.
    skip: u64,
    /// Where the last item led.
    lsn: Lsn,
    ready: Vec<Item>,
    /// Everything before this came.
    pub(crate) through: Lsn,
    /// How far the server's log goes, as far as it said.
    pub(crate) end: Lsn,
    /// Whether nothing has come since everything before `through` had.
    quiet: bool,
    /// The system that they are of.
    pub(crate) system: String,
    /// What the stream does not say is asked in another session, and when that was.
    aside: Option<Session>,
    looked: Instant,
    told: Option<Instant>,
    asked: Option<Instant>,
    flush: Lsn,
    flushed: Lsn,
}

/// Whether changes can be had from `place` on.
///
/// # Errors
/// Why not.
pub(crate) fn check(session: &mut Session, settings: &Settings, place: &Place, offset: u64) -> Result<()> {
    let Some(slot) = catalog::slot(session, settings)? else {
        return Err(fault::lost(&settings.slot, "is gone"));
    };
    if slot.confirmed > place.lsn {
        return Err(out_of_range(slot.confirmed, offset));
    }
    Ok(())
}

/// What there is instead: all rows as they are, or changes from `lsn` on.
pub(crate) fn out_of_range(lsn: Lsn, offset: u64) -> Error {
    let at = |place: Place| -> Position { place.at(Place::offset(offset, lsn)) };
    Error::OutOfRange { earliest: at(Place::rows()), latest: at(Place::slot(lsn)) }
}

/// Whether the place belongs to this system.
///
/// # Errors
/// It does not.
pub(crate) fn same_system(place: &Place, system: &str) -> Result<()> {
    match &place.system {
        Some(known) if known != system => Err(Error::fatal(
            "postgres.other-system",
            format!(
                "the position is one of the database system {known}, and this is {system}: positions in their logs have nothing in common"
            ),
        )),
        _ => Ok(()),
    }
}

impl Changes {
    /// Starts the stream at `place`.
    ///
    /// # Errors
    /// The slot does not have it, someone else reads it, or the server cannot be reached.
    pub(crate) fn open(
        settings: &Settings,
        publication: &str,
        place: &Place,
        offset: u64,
        call: Instant,
    ) -> Result<Self> {
        let mut session = Session::open(settings, true, call)?;
        let (system, end) = catalog::system(&mut session)?;
        same_system(place, &system)?;
        check(&mut session, settings, place, offset)?;
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {})",
            name(&settings.slot),
            place.lsn,
            literal(&name(publication))
        );
        let until = now() + LEAVING;
        while let Some(report) = start(&mut session, &sql)? {
            match report.state.as_str() {
                "55006" if now() < until && pause(Duration::from_millis(50)) => {}
                // The server has removed what the slot needs.
                "55000" | "58P01" => return Err(fault::lost(&settings.slot, &format!("fails: {}", report.message))),
                _ => return Err(fault::of_server("stream changes", &report)),
            }
        }
        Ok(Self {
            session,
            settings: settings.clone(),
            tables: HashMap::new(),
            transaction: None,
            count: 0,
            skip: place.skip,
            lsn: place.lsn,
            ready: Vec::new(),
            through: place.lsn,
            end: place.lsn.max(end),
            quiet: false,
            system,
            aside: None,
            looked: now(),
            told: None,
            asked: None,
            flush: Lsn(0),
            flushed: Lsn(0),
        })
    }

    /// What happens now has to be over by then.
    pub(crate) fn within(&mut self, call: Instant) {
        self.session.call = call;
    }

    /// Everything before `lsn` is durable.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn flush(&mut self, lsn: Lsn) -> Result<()> {
        self.flush = self.flush.max(lsn);
        if self.flush > self.flushed { self.tell(false) } else { Ok(()) }
    }

    /// Whether the server has nothing more, as far as is known.
    pub(crate) fn idle(&self) -> bool {
        self.quiet && self.through >= self.end
    }

    /// Looks how far the server's log goes: the stream says only how far it is itself.
    fn look(&mut self) {
        const FAR: &str =
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END";
        if now().saturating_duration_since(self.looked) < LOOK {
            return;
        }
        let looked =
            self.aside.take().map_or_else(|| Session::open(&self.settings, false, self.session.call), Ok).and_then(
                |mut aside| {
                    aside.call = self.session.call;
                    let rows = aside.query("say how far its log goes", FAR)?;
                    Ok((aside, rows.first().and_then(|row| text(row, 0)?.parse().ok())))
                },
            );
        // Nothing depends on it but a number to look at.
        if let Ok((aside, Some(end))) = looked {
            (self.aside, self.end) = (Some(aside), self.end.max(end));
        }
        self.looked = now();
    }

    /// Asks the server how far it is.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn ask(&mut self) -> Result<()> {
        if self.asked.is_none() { self.tell(true) } else { Ok(()) }
    }

    /// A status. It confirms only what is new: a server that is shut down waits until everything that it has sent is confirmed, or
    /// written where nothing is said of that.
    fn tell(&mut self, answer: bool) -> Result<()> {
        let flushed = if self.flush > self.flushed { self.flush } else { Lsn(0) };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        let clock = i64::try_from(clock).unwrap_or(i64::MAX).saturating_sub(EPOCH);
        self.session.send(&frame::status(self.through, flushed, clock, answer))?;
        self.flushed = self.flushed.max(flushed);
        self.told = Some(now());
        if answer {
            self.asked.get_or_insert(now());
        }
        Ok(())
    }

    /// The next item; `None` if there is none by then.
    ///
    /// # Errors
    /// The stream broke.
    pub(crate) fn next(&mut self, until: Instant) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop() {
                return Ok(Some(item));
            }
            if self.told.is_none_or(|told| now().saturating_duration_since(told) >= STATUS) {
                self.tell(true)?;
            }
            let Some(frame) = self.session.frame(until.min(now() + STATUS))? else {
                if self.asked.is_some_and(|asked| now().saturating_duration_since(asked) > SILENCE) {
                    let told = format!("the server has said nothing for {} s", SILENCE.as_secs());
                    return Err(Error::retriable("postgres.silent", told));
                }
                if now() >= until {
                    return Ok(None);
                }
                continue;
            };
            self.asked = None;
            match frame.kind {
                b'd' => self.replicated(frame.body)?,
                b'E' => return Err(fault::of_server("go on with the stream", &fault::report(frame.body))),
                b'c' | b'C' => {
                    return Err(Error::retriable("postgres.ended", "the server ended the stream: it shuts down"));
                }
                b'N' | b'S' => {}
                other => return Err(Wrong(format!("a message of kind {other:#04x} within a stream")).into()),
            }
        }
    }

    fn replicated(&mut self, body: Bytes) -> Result<()> {
        match frame::replicated(body)? {
            Replicated::Data { end, message } => {
                self.quiet = false;
                self.end = self.end.max(end);
                self.look();
                self.logical(pgoutput::read(message)?)
            }
            Replicated::Alive { end, answer } => {
                self.end = self.end.max(end);
                if self.transaction.is_none() {
                    self.quiet = true;
                    self.through = self.through.max(end);
                    if end.0.saturating_sub(self.lsn.0) >= STEP {
                        self.lsn = end;
                        self.ready.push(Item { change: None, lsn: end, skip: 0 });
                    }
                }
                if answer { self.tell(false) } else { Ok(()) }
            }
        }
    }

    fn logical(&mut self, message: Logical) -> Result<()> {
        match (message, self.transaction) {
            (Logical::Begin { commit, time, xid }, None) => {
                let gone = if self.skip > 0 { commit != self.lsn } else { commit < self.lsn };
                if gone {
                    let told = format!(
                        "the position is {} changes into the transaction committed at {}, and the slot begins with {commit}",
                        self.skip, self.lsn
                    );
                    return Err(Error::fatal("postgres.position", told));
                }
                let time_ms = time.saturating_add(EPOCH).div_euclid(1000);
                self.transaction = Some(Transaction { commit, time_ms, xid });
                (self.lsn, self.count) = (commit, 0);
            }
            (Logical::Commit { commit, end }, Some(transaction)) if commit == transaction.commit && end >= commit => {
                if self.skip > self.count {
                    let told = format!("the transaction at {commit} had {} changes, and has {}", self.skip, self.count);
                    return Err(Error::fatal("postgres.position", told));
                }
                (self.transaction, self.skip, self.lsn) = (None, 0, end);
                self.through = self.through.max(end);
                self.ready.push(Item { change: None, lsn: end, skip: 0 });
            }
            (Logical::Relation(relation), _) => self.relation(relation)?,
            (Logical::Other, _) => {}
            (Logical::Insert(table, after), Some(_)) => {
                self.change(table, Deed::Create, None, Some(after))?;
            }
            (Logical::Update(table, old, after), Some(_)) => {
                self.change(table, Deed::Update, old, Some(after))?;
            }
            (Logical::Delete(table, old), Some(_)) => {
                self.change(table, Deed::Delete, Some(old), None)?;
            }
            (Logical::Truncate(tables), Some(_)) => {
                // They are taken from the end.
                let before = self.ready.len();
                for table in tables {
                    self.change(table, Deed::Truncate, None, None)?;
                }
                if let Some(new) = self.ready.get_mut(before..) {
                    new.reverse();
                }
            }
            (message, _) => return Err(Wrong(format!("{message:.120?} outside of its place")).into()),
        }
        Ok(())
    }

    fn relation(&mut self, relation: Relation) -> Result<()> {
        let wanted = self.settings.wants(&relation.schema, &relation.table);
        let flagged = matches!(relation.identity, b'd' | b'i');
        let key = match (flagged, wanted) {
            (true, _) => {
                relation.columns.iter().filter(|column| column.key).map(|column| column.name.clone()).collect()
            }
            (false, true) => catalog::primary_key(&self.settings, &relation, self.session.call)?,
            (false, false) => Vec::new(),
        };
        let id = relation.id;
        self.tables.insert(id, Rc::new(Table { relation, key, wanted }));
        Ok(())
    }

    fn change(&mut self, id: u32, deed: Deed, old: Option<Old>, after: Option<Tuple>) -> Result<()> {
        let table =
            self.tables.get(&id).ok_or_else(|| Wrong(format!("a change of a table {id} that it did not describe")))?;
        let Some(transaction) = self.transaction else { return Ok(()) };
        self.count += 1;
        if self.count <= self.skip || !table.wanted {
            return Ok(());
        }
        let width = table.relation.columns.len();
        let fits = |row: &Tuple| row.len() == width;
        let (before, key_only) = match old {
            Some(Old::Key(row)) => (Some(row), true),
            Some(Old::Full(row)) => (Some(row), false),
            None => (None, false),
        };
        if !before.iter().all(fits) || !after.iter().all(fits) {
            return Err(Wrong(format!("a row of `{}` with another number of columns", table.relation.table)).into());
        }
        let after = after.map(|after| filled(after, before.as_ref().filter(|_| !key_only)));
        let change = Change { table: Rc::clone(table), deed, before, key_only, after, transaction };
        self.ready.push(Item { change: Some(change), lsn: transaction.commit, skip: self.count });
        Ok(())
    }
}

/// Starts a stream; what the server says against it.
fn start(session: &mut Session, sql: &str) -> Result<Option<Report>> {
    session.send(&frame::query(sql))?;
    let until = session.soon();
    let mut failed = None;
    loop {
        let Some(frame) = session.frame(until)? else {
            return Err(Error::retriable("postgres.slow", "the server does not start the stream"));
        };
        match frame.kind {
            b'W' => return Ok(None),
            b'E' => failed = Some(fault::report(frame.body)),
            b'Z' if failed.is_some() => return Ok(failed),
            b'N' | b'S' => {}
            other => return Err(Wrong(format!("a message of kind {other:#04x} instead of a stream")).into()),
        }
    }
}
