//! How far commits have come, as offsets of a consumer group. A hint for people and their tools: it only rises, and nobody reads
//! it here.

use std::{collections::BTreeMap, time::Instant};

use spout_guest::Result;

use crate::{
    cluster::Cluster,
    connection::{Answer, Connection},
    trouble::{self, Meaning, garbage, meaning},
    wire::{Api, COMMIT, FETCHED, FIND, Output, commit, committed, coordinator, fetched, find, wanted},
};

/// A group, and what it was told.
#[derive(Debug)]
pub(crate) struct Group {
    name: String,
    connection: Option<Connection>,
    /// By partition, as far as is known.
    told: BTreeMap<u32, u64>,
}

impl Group {
    pub(crate) fn new(name: String) -> Self {
        Self { name, connection: None, told: BTreeMap::new() }
    }

    /// Tells the group that everything before these offsets is committed.
    pub(crate) fn commit(&mut self, cluster: &mut Cluster, upto: &[(u32, u64)], until: Instant) -> Result<()> {
        let result = self.try_commit(cluster, upto, until);
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn try_commit(&mut self, cluster: &mut Cluster, upto: &[(u32, u64)], until: Instant) -> Result<()> {
        let unknown: Vec<u32> =
            upto.iter().map(|(partition, _)| *partition).filter(|one| !self.told.contains_key(one)).collect();
        let (name, topic) = (self.name.clone(), cluster.name.clone());
        if !unknown.is_empty() {
            let (input, _) = self.ask(cluster, FETCHED, until, |out| wanted(out, &name, &topic, &unknown))?;
            for (partition, offset, code) in fetched(input).map_err(|what| garbage("the group's coordinator", what))? {
                self.passed(code)?;
                if let Ok(partition) = u32::try_from(partition) {
                    self.told.insert(partition, u64::try_from(offset).unwrap_or(0));
                }
            }
        }
        let higher = |(partition, offset): &&(u32, u64)| self.told.get(partition).is_none_or(|told| told < offset);
        let rising: Vec<(u32, u64)> = upto.iter().filter(higher).copied().collect();
        if rising.is_empty() {
            return Ok(());
        }
        let (input, _) = self.ask(cluster, COMMIT, until, |out| commit(out, &name, &topic, &rising))?;
        for (_, code) in committed(input).map_err(|what| garbage("the group's coordinator", what))? {
            self.passed(code)?;
        }
        self.told.extend(rising);
        Ok(())
    }

    fn passed(&mut self, code: i16) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        if meaning(code) == Meaning::Refresh {
            self.connection = None;
        }
        Err(trouble::refused(&format!("group `{}`", self.name), code))
    }

    /// Asks the broker that keeps the group's offsets; which one that is, any broker knows.
    fn ask(
        &mut self,
        cluster: &mut Cluster,
        api: Api,
        until: Instant,
        write: impl FnOnce(&mut Output),
    ) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.find(cluster, until)?,
        };
        let answer = connection.call(api, until, |out, _| write(out))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn find(&self, cluster: &mut Cluster, until: Instant) -> Result<Connection> {
        let address = cluster.any(until)?;
        let (input, _) = cluster.ask(&address, FIND, until, |out, _| find(out, &self.name))?;
        let found = coordinator(input).map_err(|what| garbage(&address, what))?;
        if found.code != 0 {
            return Err(trouble::refused(&format!("group `{}`", self.name), found.code));
        }
        Connection::open(&found.address, &cluster.settings, until)
    }
}
