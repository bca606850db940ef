//! What is known to have been read: which of the logs that commits know have read what a file holds.

use std::collections::{BTreeMap, BTreeSet};

use spout_guest::Known;

use crate::{
    family::{Member, holds, is_closed},
    mark::{Content as _, HEAD, Mark, Places},
    text::Text,
};

/// The marks of all logs that commits know, by their first bytes. They are taken from the positions when they are asked for
/// first: mostly no log is new.
pub(crate) struct Read<'a> {
    known: &'a [Known],
    marks: Option<Marks<'a>>,
}

#[derive(Default)]
struct Marks<'a> {
    all: Vec<Held<'a>>,
    by_head: BTreeMap<[u8; HEAD], Vec<usize>>,
    /// Those with fewer bytes.
    short: Vec<usize>,
}

struct Held<'a> {
    label: &'a str,
    mark: Mark,
    closed: bool,
}

impl<'a> Read<'a> {
    pub(crate) fn new(known: &'a [Known]) -> Self {
        Self { known, marks: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The logs other than `log` that have read what `text`, the file of `member`, holds; the first such mark of each.
    pub(crate) fn held_by(&mut self, log: &str, text: &mut Text, member: &Member) -> Vec<(&str, &Mark)> {
        let marks = self.marks.get_or_insert_with(|| Marks::of(self.known));
        let first = text.bytes(0, HEAD).unwrap_or_default();
        let like = <[u8; HEAD]>::try_from(first.as_slice()).ok().and_then(|head| marks.by_head.get(&head));
        let mut candidates: Vec<usize> = like.into_iter().flatten().chain(&marks.short).copied().collect();
        candidates.sort_unstable();
        let (mut told, mut found) = (BTreeSet::new(), Vec::new());
        for held in candidates.into_iter().filter_map(|index| marks.all.get(index)) {
            let Held { label, mark, closed } = held;
            // A plain file that is shorter than what was read does not hold it.
            if *label == log
                || told.contains(label)
                || !mark.begins_with(&first)
                || text.plain().is_some() && member.stat.length < mark.at
            {
                continue;
            }
            if if *closed { is_closed(mark, text, member, || false) } else { holds(mark, text) } {
                told.insert(*label);
                found.push((*label, mark));
            }
        }
        found
    }
}

impl<'a> Marks<'a> {
    fn of(known: &'a [Known]) -> Self {
        let mut marks = Self::default();
        for one in known {
            let Some(places) = one.position.token.as_deref().and_then(Places::read) else { continue };
            let open = places.open.into_iter().map(|mark| (mark, false));
            for (mark, closed) in open.chain(places.closed.into_iter().map(|mark| (mark, true))) {
                let index = marks.all.len();
                match mark.whole_head() {
                    Some(head) => marks.by_head.entry(head).or_default().push(index),
                    None => marks.short.push(index),
                }
                marks.all.push(Held { label: &one.label, mark, closed });
            }
        }
        marks
    }
}
