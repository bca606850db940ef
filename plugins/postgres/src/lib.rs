//! `postgres`: the rows of the tables of a publication, then every change of them, out of a replication slot.
//!
//! # Positions
//!
//! A publication is one partition. A position is a [`place::Place`]: everything up to a place in the write-ahead log was given of every
//! row up to a cursor, and nothing of the rows after it. While rows are read they are all seen as of one place in the log; where
//! that is lost with the session, a new one sees them as of a later place, the rows that were read before are brought there by
//! their changes ([`covered`]), and reading goes on. So every row is given once, and every change of a row that was given, once,
//! in the order of commits: at any position, what was given is the history of the rows up to the cursor.
//!
//! An offset follows the log: that of a change is the place of its transaction's commit, or the one after the change before it
//! if that is larger. It depends on the position asked for alone, so what is asked for again has the same offsets.
//!
//! # The slot
//!
//! It is told what is committed, and nothing else. What a fetch gives can be had again until then.

mod auth;
mod catalog;
mod change;
mod changes;
mod covered;
mod fault;
mod frame;
mod lsn;
mod pgoutput;
mod place;
mod reader;
mod render;
mod rows;
mod session;
mod settings;

use std::time::Duration;

use spout_guest::{Criteria, Known, Partition, Position, Result, SharedSource, now, register};

pub use self::{lsn::Lsn, reader::Publication, settings::Settings};
use self::{place::Place, session::Session, settings::Snapshot};

/// How long a call may take besides waiting for messages. The host ends it after ten seconds, unless the spec says otherwise.
const CALL: Duration = Duration::from_secs(8);

/// What can be asked of a publication.
#[derive(Debug)]
pub struct Postgres {
    settings: Settings,
    publication: String,
}

impl Postgres {
    /// Before the first message.
    fn first(&self) -> Place {
        match self.settings.snapshot {
            Snapshot::Initial => Place::rows(),
            Snapshot::Never => Place::slot(Lsn(0)),
        }
    }

    /// Where the log ends.
    fn end(&self) -> Result<Lsn> {
        let mut session = Session::open(&self.settings, true, now() + CALL)?;
        let (_, end) = catalog::system(&mut session)?;
        // A slot that was advanced further by hand has nothing before that.
        let slot = catalog::slot(&mut session, &self.settings)?;
        session.close();
        Ok(slot.map_or(end, |slot| slot.confirmed.max(end)))
    }
}

impl SharedSource for Postgres {
    type Settings = Settings;
    type Reader = Publication;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check(topic)?;
        Ok(Self { settings, publication: topic.to_owned() })
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        Ok(vec![Partition { id: 0, label: self.publication.clone(), ended: false }])
    }

    fn resolve(&mut self, _: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        Ok(match at {
            Criteria::Earliest | Criteria::AtOffset(0) => Some(self.first().at(0)),
            Criteria::Latest => {
                let end = self.end().map_err(|error| error.of(&self.settings.address))?;
                Some(Place::slot(end).at(end.0))
            }
            Criteria::AtOffset(_) | Criteria::AtTimeMs(_) => None,
        })
    }

    fn into_reader(self) -> Result<Publication> {
        let first = self.first();
        Ok(Publication::new(self.settings, self.publication, first))
    }
}

register! {
    name: "postgres",
    summary: "the rows of PostgreSQL tables, then every change of them, in commit order",
    asks: {endpoints: ["server"]},
    source: Postgres,
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
