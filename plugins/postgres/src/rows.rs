//! The rows that are there: read in the order of their keys, all of them as of one place in the log.
//!
//! A temporary slot that is created with `USE_SNAPSHOT` gives a transaction that sees exactly what was committed before a place in the
//! log. Everything here happens in that transaction; with the session it ends.

use std::time::{Duration, Instant};

use spout_guest::{Error, Result, now, warn};

use crate::{
    Lsn, Settings,
    catalog::{self, Table},
    changes::{check, same_system},
    place::{Cursor, Place, Rest},
    session::{Polled, Row, Session, name, text},
};

/// Rows of one statement.
const CHUNK: u32 = 8192;
/// How long the creation of a slot may take before that is worth a line.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The slot is being created.
    Slot,
    /// The transaction is being created.
    Snapshot,
    /// Rows can be read.
    Ready,
}

/// Reads rows.
#[derive(Debug)]
pub(crate) struct Rows {
    session: Session,
    settings: Settings,
    publication: String,
    stage: Stage,
    begun: Instant,
    warned: bool,
    /// The system that they are of.
    pub(crate) system: String,
    /// As of when they are.
    pub(crate) at: Lsn,
    tables: Vec<Table>,
    /// The table that is read.
    current: usize,
    /// The last row that was read of it, before this session or in it.
    after: Option<Cursor>,
    /// Rows that came of the statement under way, if there is one.
    chunk: Option<u32>,
    last: Option<Row>,
}

/// What has come.
#[derive(Debug)]
pub(crate) enum Read {
    /// A row.
    Row(Row),
    /// All rows were read.
    Done,
    /// Nothing for now.
    Waiting,
}

impl Rows {
    /// Connects, and makes what `place` needs: the slot if it may be made, and the transaction if rows are to be read.
    ///
    /// # Errors
    /// The server refuses, or the place is gone.
    pub(crate) fn open(
        settings: &Settings,
        publication: &str,
        place: &Place,
        offset: u64,
        call: Instant,
    ) -> Result<Self> {
        let mut session = Session::open(settings, true, call)?;
        let (system, _) = catalog::system(&mut session)?;
        same_system(place, &system)?;
        let mut rows = Self {
            session,
            settings: settings.clone(),
            publication: publication.to_owned(),
            stage: Stage::Slot,
            begun: now(),
            warned: false,
            system,
            at: Lsn(0),
            tables: Vec::new(),
            current: 0,
            after: None,
            chunk: None,
            last: None,
        };
        if let Rest::After(cursor) = &place.rest {
            check(&mut rows.session, settings, place, offset)?;
            rows.after = Some(cursor.clone());
        }
        // A publication that is created after the slot does not exist for what comes out of it.
        let tables = catalog::tables(&mut rows.session, settings, publication)?;
        let read = place.rest != Rest::Slot;
        if let Some(table) = tables.iter().find(|table| read && table.key.is_empty()) {
            return Err(keyless(table));
        }
        match catalog::slot(&mut rows.session, settings)? {
            Some(slot) => {
                rows.at = slot.confirmed;
                rows.snapshot(read)?;
            }
            None => {
                let sql =
                    format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput NOEXPORT_SNAPSHOT", name(&settings.slot));
                rows.session.begin("create the slot (`wal_level` has to be `logical`)", &sql)?;
            }
        }
        Ok(rows)
    }

    fn snapshot(&mut self, read: bool) -> Result<()> {
        if !read {
            self.stage = Stage::Ready;
            return Ok(());
        }
        // Its name is that of a process of the server, so no other session has it.
        let rows = self.session.query("say which process it is", "SELECT pg_backend_pid()")?;
        let process = rows.first().and_then(|row| text(row, 0)).unwrap_or_default();
        self.session.query("begin a transaction", "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ")?;
        let slot = name(&format!("spout_rows_{process}"));
        let sql = format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput USE_SNAPSHOT");
        self.session.begin("create a temporary slot", &sql)?;
        self.stage = Stage::Snapshot;
        Ok(())
    }

    /// What happens now has to be over by then.
    pub(crate) fn within(&mut self, call: Instant) {
        self.session.call = call;
    }

    /// Whether rows can be read; until then, what is under way goes on.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) fn ready(&mut self, until: Instant, read: bool) -> Result<bool> {
        while self.stage != Stage::Ready {
            match self.session.poll(until)? {
                Polled::Row(row) => {
                    let place = text(&row, 1).and_then(|lsn| lsn.parse().ok());
                    self.at = place.ok_or_else(|| {
                        Error::retriable("postgres.protocol", "the server does not say where its slot begins")
                    })?;
                }
                Polled::Done if self.stage == Stage::Slot => self.snapshot(read)?,
                Polled::Done => self.enter()?,
                Polled::Waiting => {
                    if !self.warned && now().saturating_duration_since(self.begun) > PATIENCE {
                        self.warned = true;
                        warn!(
                            "the server creates a slot once all transactions have ended that are running now: see pg_stat_activity"
                        );
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The transaction is there: where to go on.
    fn enter(&mut self) -> Result<()> {
        self.stage = Stage::Ready;
        self.tables = catalog::tables(&mut self.session, &self.settings, &self.publication)?;
        if let Some(table) = self.tables.iter().find(|table| table.key.is_empty()) {
            return Err(keyless(table));
        }
        let Some(cursor) = &self.after else { return Ok(()) };
        let place = (cursor.schema.as_str(), cursor.table.as_str());
        self.current = self.tables.partition_point(|table| table.place() < place);
        match self.tables.get(self.current).filter(|table| table.place() == place) {
            Some(table) if !table.fits(cursor) => Err(Error::fatal(
                "postgres.key-changed",
                format!(
                    "the key of `{}.{}` changed while its rows were read, so it is not known which are still to be read: begin anew",
                    cursor.schema, cursor.table
                ),
            )),
            Some(_) => Ok(()),
            // It is gone, or was never here.
            None => {
                self.after = None;
                Ok(())
            }
        }
    }

    /// The table whose rows come.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.tables.get(self.current)
    }

    /// Which it is.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// The cursor after a row of that table.
    ///
    /// # Errors
    /// It has no key.
    pub(crate) fn cursor(&self, table: usize, row: &Row) -> Result<Cursor> {
        let cursor = self.tables.get(table).and_then(|table| table.cursor(row));
        cursor.ok_or_else(|| Error::fatal("postgres.no-key", "a row has no value in a column of its key"))
    }

    /// The next row.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) fn next(&mut self, until: Instant) -> Result<Read> {
        loop {
            let Some(table) = self.tables.get(self.current) else { return Ok(Read::Done) };
            let Some(count) = &mut self.chunk else {
                let sql = table.select(self.after.as_ref(), CHUNK);
                self.session.begin("let us read a table", &sql)?;
                self.chunk = Some(0);
                continue;
            };
            match self.session.poll(until)? {
                Polled::Row(row) => {
                    *count += 1;
                    self.last = Some(row.clone());
                    return Ok(Read::Row(row));
                }
                Polled::Waiting => return Ok(Read::Waiting),
                Polled::Done => {
                    let full = *count >= CHUNK;
                    self.chunk = None;
                    self.after = if full { self.last.take().and_then(|row| table.cursor(&row)) } else { None };
                    self.current += usize::from(!full);
                }
            }
        }
    }

    /// Which of these keys of the cursor's table were read before it, or are its own.
    ///
    /// # Errors
    /// The server cannot compare them.
    pub(crate) fn covers(&mut self, cursor: &Cursor, keys: &[Vec<String>]) -> Result<Vec<bool>> {
        let table = self.tables.iter().find(|table| table.fits(cursor));
        let Some(table) = table.filter(|_| !keys.is_empty()) else { return Ok(vec![true; keys.len()]) };
        let sql = table.compare(keys.iter().map(Vec::as_slice), cursor);
        let rows = self.session.query("compare keys", &sql)?;
        Ok(rows.iter().map(|row| text(row, 0).as_deref() == Some("t")).collect())
    }

    /// These columns of one row of the cursor's table, if it is there.
    ///
    /// # Errors
    /// The server does not say.
    pub(crate) fn values(&mut self, cursor: &Cursor, key: &[String], columns: &[&str]) -> Result<Option<Row>> {
        let Some(table) = self.tables.iter().find(|table| table.fits(cursor)) else { return Ok(None) };
        // A column may have gone since.
        let known = |name: &&&str| table.columns.iter().any(|column| column.name == **name);
        if columns.iter().filter(known).count() < columns.len() {
            return Ok(None);
        }
        let sql = table.one(key, columns);
        Ok(self.session.query("show a row", &sql)?.into_iter().next())
    }

    /// Ends the session.
    pub(crate) fn close(self) {
        self.session.close();
    }
}

fn keyless(table: &Table) -> Error {
    Error::invalid_config(format!(
        "the table `{}.{}` has no primary key, so its rows cannot be read in parts: add one, name the tables to read in `tables`, or \
         set `snapshot: never` for changes only",
        table.schema, table.table
    ))
}
