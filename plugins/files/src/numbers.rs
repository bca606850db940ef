//! Which number each log has.
//!
//! It follows from the name alone, so it stays the same whatever else comes and goes. Only where another log has it already, which is
//! likely among a hundred thousand, the one that came later has the next that its name gives. It keeps that, because commits know it;
//! and because a number alone does not tell the two apart, a position says the name from the beginning.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use spout_guest::{Error, Known, Result};

use crate::{
    mark::Places,
    names::{number, numbers},
};

/// The logs that were told, or that commits know.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    logs: BTreeMap<u32, String>,
    by_log: BTreeMap<String, u32>,
    /// Numbers that commits know, and whose name they do not: a label may be shortened on its way.
    unnamed: BTreeSet<u32>,
}

impl Numbers {
    /// Takes over what commits know.
    pub(crate) fn learn(&mut self, known: &[Known]) {
        for one in known {
            if self.logs.contains_key(&one.id) {
                continue;
            }
            match name_of(one) {
                Some(log) => self.put(one.id, log),
                None => drop(self.unnamed.insert(one.id)),
            }
        }
    }

    /// The log that has this number.
    pub(crate) fn log(&self, number: u32) -> Option<&str> {
        self.logs.get(&number).map(String::as_str)
    }

    /// Whether a log has none yet.
    pub(crate) fn is_new(&self, log: &str) -> bool {
        !self.by_log.contains_key(log) && !self.unnamed.contains(&number(log))
    }

    /// The number of a log: the one that it has, or else the first of its numbers that no other log has.
    pub(crate) fn give(&mut self, log: &str) -> Result<u32> {
        if let Some(number) = self.by_log.get(log) {
            return Ok(*number);
        }
        let free = numbers(log).find(|number| !self.logs.contains_key(number));
        let free = free.ok_or_else(|| {
            let message =
                format!("all numbers that the name of the file `{log}` gives belong to other files; rename it");
            Error::fatal("files.collision", message)
        })?;
        self.put(free, log.to_owned());
        Ok(free)
    }

    /// A log has this number, as a commit says.
    pub(crate) fn put(&mut self, number: u32, log: String) {
        if let Entry::Vacant(entry) = self.logs.entry(number) {
            self.unnamed.remove(&number);
            self.by_log.insert(log.clone(), number);
            entry.insert(log);
        }
    }
}

/// The log that a number was given to.
fn name_of(known: &Known) -> Option<String> {
    if numbers(&known.label).any(|number| number == known.id) {
        return Some(known.label.clone());
    }
    known.position.token.as_deref().and_then(Places::read).map(|places| places.log)
}

#[cfg(test)]
mod tests {
    use spout_guest::Position;

    use super::*;
    use crate::tests::TWINS;

    #[test]
    fn a_log_that_came_later_has_a_number_of_its_own() {
        let [first, second] = TWINS;
        assert_eq!(number(first), number(second));
        let mut numbers = Numbers::default();
        let ours = numbers.give(second).unwrap();
        let theirs = numbers.give(first).unwrap();
        assert!(ours == number(second) && theirs != ours, "{ours} {theirs}");
        assert_eq!((numbers.give(first).unwrap(), numbers.give(second).unwrap()), (theirs, ours));
        assert_eq!((numbers.log(ours), numbers.log(theirs)), (Some(second), Some(first)));
    }

    #[test]
    fn commits_know_who_has_a_number() {
        let [first, second] = TWINS;
        let mut before = Numbers::default();
        let ids = [first, second].map(|log| before.give(log).unwrap());
        let known = |id, label: &str| Known { id, label: label.to_owned(), position: Position::at(0) };
        // Only the one that came later was committed, and is asked for first.
        let mut after = Numbers::default();
        after.learn(&[known(ids[1], second)]);
        assert!(after.is_new(first) && !after.is_new(second));
        assert_eq!([second, first].map(|log| after.give(log).unwrap()), [ids[1], ids[0]]);
        // A label that was shortened says nothing, and a position does.
        let token = Places { log: second.to_owned(), ..Places::default() }.write();
        let mut told = known(ids[1], "a shortened lab…");
        let mut after = Numbers::default();
        after.learn(&[told.clone()]);
        assert!(!after.is_new("a") || number("a") != ids[1]);
        told.position.token = Some(token);
        let mut after = Numbers::default();
        after.learn(&[told]);
        assert_eq!(after.give(second).unwrap(), ids[1]);
        // Where nothing says it, it is whose first number it is, as before there were others.
        let mut after = Numbers::default();
        after.learn(&[known(ids[0], "a shortened lab…")]);
        assert!(!after.is_new(first));
        assert_eq!(after.give(first).unwrap(), ids[0]);
    }
}
