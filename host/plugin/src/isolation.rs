//! Decides which calls isolate the messages or rows that crash a plugin, and when to abandon the plugin; makes none itself.
//!
//! An input of `n` that crashed is handed over once more: the first item alone, the rest in parts of about √n, and a part that
//! crashes one by one. One poisonous item costs three crashes (the whole, its part, itself) and at most 2·√n + 3 calls; every
//! further one costs two at most. A plugin that crashes over the whole, over the first item alone and over the last one alone
//! crashes over everything: three crashes are enough, and no part is tried.
//!
//! **Invariant**: an item is set aside only after it crashed the plugin alone.

use std::ops::Range;

/// Items set aside one after the other, with nothing coming through in between, after which a plugin is given up that worked
/// before.
const HOPELESS: u32 = 16;

/// The same for a plugin that has never worked, or that keeps everybody waiting until its time is over.
const PATIENCE: u32 = 3;

/// What to do next with an input that crashed its plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand over this part, and keep what comes of it. Parts come in order.
    Call(Range<usize>),
    /// Hand over this one alone to an instance of its own, and keep nothing: does the plugin bear anything at all?
    Probe(usize),
    /// Set this one aside.
    Aside(usize),
    /// Everything came through, or was set aside.
    Done,
    /// The plugin does not work.
    GiveUp,
}

/// How a plugin has done so far, over all its inputs.
#[derive(Clone, Debug, Default)]
pub struct Health {
    worked: bool,
    aside: u32,
}

impl Health {
    /// A call came through.
    pub fn passed(&mut self) {
        *self = Self { worked: true, aside: 0 };
    }

    /// Whether the plugin is given up with one more item set aside.
    fn exhausted(&mut self, slow: bool) -> bool {
        self.aside += 1;
        self.aside >= if slow || !self.worked { PATIENCE } else { HOPELESS }
    }
}

/// The way through one input that crashed.
#[derive(Debug)]
pub struct Search {
    items: usize,
    /// The first item that is neither through nor set aside.
    at: usize,
    /// Where the part ends that crashed and now goes one by one.
    until: Option<usize>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Last,
    Aside,
    Parts,
    GivenUp,
}

impl Search {
    /// Begins after the input of so many items has crashed as a whole.
    #[must_use]
    pub fn new(items: usize) -> Self {
        Self { items, at: 0, until: None, stage: Stage::First }
    }

    /// What to do next; [`Search::passed`] or [`Search::crashed`] has to follow a call and a probe, [`Search::set_aside`] an
    /// item to set aside.
    #[must_use]
    pub fn step(&self) -> Step {
        match self.stage {
            Stage::GivenUp => Step::GiveUp,
            _ if self.at >= self.items => Step::Done,
            Stage::First => Step::Call(0..1),
            Stage::Last => Step::Probe(self.items - 1),
            Stage::Aside => Step::Aside(self.at),
            Stage::Parts => Step::Call(self.at..self.end()),
        }
    }

    /// Where the next part ends.
    fn end(&self) -> usize {
        match (self.stage, self.until) {
            (Stage::First, _) | (_, Some(_)) => self.at + 1,
            (_, None) => self.items.min(self.at + (self.items - 1).isqrt() + 1),
        }
    }

    /// The call or the probe came through.
    pub fn passed(&mut self, health: &mut Health) {
        health.passed();
        if self.stage == Stage::Last {
            self.stage = Stage::Aside;
            return;
        }
        self.go_on_at(self.end());
    }

    /// The call or the probe crashed; `slow` if that took all of its time.
    pub fn crashed(&mut self, slow: bool, health: &mut Health) {
        let alone = self.end() - self.at == 1;
        self.stage = match self.stage {
            Stage::Last => Stage::GivenUp,
            // It is not known yet whether anything can come through.
            Stage::First if self.items > 1 && (slow || !health.worked) => Stage::Last,
            _ if alone && health.exhausted(slow) => Stage::GivenUp,
            _ if alone => Stage::Aside,
            stage => {
                self.until = Some(self.end());
                stage
            }
        };
    }

    /// The item was set aside.
    pub fn set_aside(&mut self) {
        self.go_on_at(self.at + 1);
    }

    fn go_on_at(&mut self, at: usize) {
        self.at = at;
        self.stage = Stage::Parts;
        self.until = self.until.filter(|&until| until > at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What a search came to, over a plugin that crashes where one of `poison` is in the input.
    #[derive(Debug, Default, PartialEq)]
    struct Found {
        through: Vec<usize>,
        aside: Vec<usize>,
        calls: usize,
        crashes: usize,
        given_up: bool,
    }

    fn search(items: usize, poison: &BTreeSet<usize>, slow: bool, health: &mut Health) -> Found {
        // The whole, before the search.
        let mut found = Found { calls: 1, crashes: 1, ..Found::default() };
        let mut search = Search::new(items);
        loop {
            let (range, kept) = match search.step() {
                Step::Done => return found,
                Step::GiveUp => return Found { given_up: true, ..found },
                Step::Aside(item) => {
                    found.aside.push(item);
                    search.set_aside();
                    continue;
                }
                Step::Call(range) => (range, true),
                Step::Probe(item) => (item..item + 1, false),
            };
            assert!(range.start < range.end && range.end <= items, "{range:?} of {items}");
            found.calls += 1;
            if poison.range(range.clone()).next().is_some() {
                found.crashes += 1;
                search.crashed(slow, health);
            } else {
                search.passed(health);
                found.through.extend(range.filter(|_| kept));
            }
        }
    }

    fn check(items: usize, poison: &[usize], slow: bool, health: &mut Health) -> Found {
        search(items, &poison.iter().copied().collect(), slow, health)
    }

    #[test]
    fn one_poisonous_item_costs_three_crashes_wherever_it_is() {
        for items in [1, 2, 3, 5, 100, 8192] {
            for at in [0, 1, items / 3, items / 2, items - items.min(2), items - 1] {
                if at >= items {
                    continue;
                }
                for (worked, slow) in [(false, false), (true, false), (false, true), (true, true)] {
                    let found = check(items, &[at], slow, &mut Health { worked, aside: 0 });
                    assert!(!found.given_up, "{at} of {items}");
                    assert_eq!(found.aside, [at]);
                    assert_eq!(found.through.len(), items - 1);
                    assert!(found.crashes <= 3, "{at} of {items}: {} crashes", found.crashes);
                    let most = 2 * (items as f64).sqrt().ceil() as usize + 3;
                    assert!(found.calls <= most, "{at} of {items}: {} calls", found.calls);
                }
            }
        }
    }

    #[test]
    fn a_plugin_that_crashes_over_everything_is_given_up_after_three_crashes() {
        let all: Vec<usize> = (0..8192).collect();
        let check = |items: usize, worked: bool, slow: bool, expected: usize| {
            let found = check(items, &all[..items], slow, &mut Health { worked, aside: 0 });
            assert!(found.given_up && found.through.is_empty());
            assert_eq!(found.crashes, expected, "{items} items, worked {worked}, slow {slow}");
        };
        for items in [2, 3, 5, 8192] {
            check(items, false, false, 3);
            check(items, false, true, 3);
            check(items, true, true, 3);
        }
        // What worked before may meet a run of bad items.
        check(8192, true, false, 18);
    }

    #[test]
    fn single_items_are_given_up_after_three_that_never_worked_or_took_all_their_time() {
        let given_up_at = |worked: bool, slow: bool| {
            let mut health = Health { worked, aside: 0 };
            (1..100).find(|_| check(1, &[0], slow, &mut health).given_up)
        };
        assert_eq!(given_up_at(false, false), Some(3));
        assert_eq!(given_up_at(true, true), Some(3));
        assert_eq!(given_up_at(true, false), Some(16));
    }

    #[test]
    fn a_crash_by_chance_sets_nothing_aside() {
        for items in [1, 2, 100] {
            let found = check(items, &[], false, &mut Health::default());
            assert_eq!((found.aside.len(), found.through.len(), found.crashes), (0, items, 1));
        }
    }

    proptest! {
        #[test]
        fn what_is_sound_comes_through_in_order_and_what_is_not_is_set_aside(
            items in 1_usize..300,
            poison in proptest::collection::btree_set(0_usize..300, 0..12),
            slow: bool,
            worked: bool,
        ) {
            let poison: BTreeSet<usize> = poison.into_iter().filter(|&at| at < items).collect();
            let found = search(items, &poison, slow, &mut Health { worked, aside: 0 });
            let sound: Vec<usize> = (0..items).filter(|at| !poison.contains(at)).collect();
            if found.given_up {
                // Only with a reason: both ends are bad, or three in a row are.
                let run = (0..items).any(|at| (at..at + 3).all(|at| poison.contains(&at)));
                let both = poison.contains(&0) && poison.contains(&(items - 1));
                prop_assert!(run || both, "{poison:?} of {items}");
            } else {
                prop_assert_eq!(&found.through, &sound);
                prop_assert_eq!(&found.aside, &poison.iter().copied().collect::<Vec<_>>());
                prop_assert!(found.crashes <= 1 + 2 * poison.len().max(1));
            }
        }
    }
}
