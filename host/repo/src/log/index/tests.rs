//! An index against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{layout::Layout, object::Objects};

/// Letters that grow, are replaced, or are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Letters {
    fresh: bool,
    letters: String,
}

impl Value for Letters {
    fn stands_alone(&self) -> bool {
        self.fresh
    }

    fn over(self, older: Self) -> Self {
        if self.fresh { self } else { Self { fresh: older.fresh, letters: older.letters + &self.letters } }
    }

    fn is_live(&self) -> bool {
        !self.letters.is_empty()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put {
        key: u8,
        fresh: bool,
        letter: char,
    },
    Gone {
        key: u8,
    },
    Write,
    /// A checkpoint that takes so many changes to be written.
    WriteSlowly(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (any::<u8>(), any::<bool>(), proptest::char::range('a', 'z'))
            .prop_map(|(key, fresh, letter)| Op::Put { key: key % 40, fresh, letter }),
        2 => any::<u8>().prop_map(|key| Op::Gone { key: key % 40 }),
        1 => Just(Op::Write),
        1 => (0..4u8).prop_map(Op::WriteSlowly),
    ];
    proptest::collection::vec(op, 1..150)
}

async fn run(ops: Vec<Op>) {
    let segments = Segments::new(&Objects::memory(), &Layout::of("r"), Vec::new());
    let mut index: Index<Letters> = Index::new(segments);
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    let mut writing: Option<(u8, Index<Letters>)> = None;
    for op in ops {
        match op {
            Op::Put { key, fresh, letter } => {
                let key = format!("/{}/{key}", key % 3);
                let value = Letters { fresh, letters: letter.into() };
                let there = model.entry(key.clone()).or_default();
                if fresh {
                    there.clear();
                }
                there.push(letter);
                index.put(key, value);
            }
            Op::Gone { key } => {
                let key = format!("/{}/{key}", key % 3);
                model.remove(&key);
                index.put(key, Letters { fresh: true, letters: String::new() });
            }
            Op::Write if writing.is_none() => {
                index.freeze();
                let segments = merged(index.segments(), index.pending()).await.unwrap();
                index.install(segments, index.generation());
            }
            Op::WriteSlowly(steps) if writing.is_none() => {
                index.freeze();
                writing = Some((steps, index.clone()));
            }
            Op::Write | Op::WriteSlowly(_) => {}
        }
        if let Some((left, frozen)) = writing.take() {
            match left.checked_sub(1) {
                Some(left) => writing = Some((left, frozen)),
                None => {
                    let segments = merged(frozen.segments(), frozen.pending()).await.unwrap();
                    index.install(segments, frozen.generation());
                }
            }
        }
    }
    let mut scan = index.scan("");
    let mut all = BTreeMap::new();
    while let Some((key, value)) = scan.next().await.unwrap() {
        all.insert(key, value.letters);
    }
    assert_eq!(all, model);
    let whole = index.all().await.unwrap().into_iter().map(|(key, value)| (key, value.letters));
    assert_eq!(whole.collect::<BTreeMap<_, _>>(), model);
    for key in (0..40).map(|key| format!("/{}/{key}", key % 3)) {
        let found = index.get(&key).await.unwrap().map(|value| value.letters);
        assert_eq!(found.as_ref(), model.get(&key), "{key}");
    }
    let first = index.first("/1/", |_, _| true).await.unwrap().map(|(key, _)| key);
    assert_eq!(first.as_ref(), model.range("/1/".to_owned().."/2/".to_owned()).next().map(|(key, _)| key));
    assert!(index.segments().list().len() <= 3 * FEW, "{:?}", index.segments().list());
}

/// Classes of size that so few entries can have.
const FEW: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_is_a_map(ops in ops()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(ops));
    }
}

/// An index that is read in several parts at once gives what a scan of its pages gives.
#[tokio::test]
async fn a_large_index_is_read_whole() {
    let segments = Segments::new(&Objects::memory(), &Layout::of("r"), Vec::new());
    let mut index: Index<Letters> = Index::new(segments);
    let letters = |n: u32| Letters { fresh: !n.is_multiple_of(7), letters: format!("{n}").repeat(20) };
    for part in 0..3 {
        (0..4000).for_each(|n| index.put(format!("/{:05}", n * 3 % 4001 + part), letters(n + part)));
        index.freeze();
        let segments = merged(index.segments(), index.pending()).await.unwrap();
        index.install(segments, index.generation());
    }
    assert!(index.segments().list().iter().any(|segment| segment.size > 1 << 18), "it is read in one part");
    let mut scan = index.scan("");
    let mut scanned = BTreeMap::new();
    while let Some((key, value)) = scan.next().await.unwrap() {
        scanned.insert(key, value);
    }
    assert_eq!(index.all().await.unwrap(), scanned);
}
