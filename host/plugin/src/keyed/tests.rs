//! Keyed state against a plain map: through calls that answer or do not, crashes, snapshots and restarts.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_base::spill::LEAST;
use spout_data::Part;

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const MOST: usize = 1 << 30;

/// Stores parts as a commit does; how many bytes were written.
fn save(state: &mut KeyedState, stored: &mut BTreeMap<String, Bytes>) -> usize {
    let mut written = 0;
    let part = |(name, part): (String, Part)| match part {
        Part::New(bytes) => {
            written += bytes.len();
            (name, bytes)
        }
        Part::Kept => (name.clone(), stored[&name].clone()),
    };
    *stored = state.snapshot().unwrap().into_iter().map(part).collect();
    written
}

fn restored(stored: &BTreeMap<String, Bytes>) -> KeyedState {
    let mut parts = stored.clone();
    parts.insert("marks".into(), Bytes::new());
    let state = KeyedState::restore(&mut parts).unwrap();
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["marks"]);
    state
}

fn in_pieces(full: usize, mut state: KeyedState) -> KeyedState {
    state.full = full;
    state
}

/// All entries, page by page.
fn scanned(view: &View, prefix: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = all.last().map(|entry| entry.0.clone());
        let (keys, values) = view.scan(prefix, after.as_deref(), limit);
        if keys.is_empty() {
            return all;
        }
        all.extend((0..keys.len()).map(|at| (keys.get(at).to_vec(), values.get(at).to_vec())));
    }
}

fn same(view: &View, model: &Model, dice: &mut StdRng) {
    let key = [dice.random_range(0..3_u8)];
    for prefix in [&[][..], &key] {
        let expected = model.iter().filter(|(key, _)| key.starts_with(prefix));
        let found = scanned(view, prefix, dice.random_range(1..300));
        assert!(found.iter().map(|(key, value)| (key, value)).eq(expected), "prefix {prefix:?}");
    }
    for _ in 0..20 {
        let key = some_key(dice);
        assert_eq!(view.get(&key), model.get(&key).map(Vec::as_slice));
    }
}

fn some_key(dice: &mut StdRng) -> Vec<u8> {
    let key = dice.random_range(0..600_u16).to_be_bytes();
    key[..dice.random_range(0..=2)].to_vec()
}

#[test]
fn it_is_the_map_that_a_plain_one_is() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        // Runs of one piece, and of many.
        let full = [300, 3_000, MOST][seed as usize % 3];
        let (mut state, mut stored) = (in_pieces(full, KeyedState::default()), BTreeMap::new());
        let (mut committed, mut kept, mut now) = (Model::new(), Model::new(), Model::new());
        let mut view = View::new(state.clone(), MOST, MOST);
        for _ in 0..150 {
            let mut called = now.clone();
            for _ in 0..dice.random_range(0..30) {
                let (key, value) = (some_key(&mut dice), vec![dice.random(); dice.random_range(0..40)]);
                if dice.random_ratio(2, 3) {
                    view.change([(key.as_slice(), Some(value.as_slice()))].into_iter()).unwrap();
                    called.insert(key, value);
                } else {
                    view.change([(key.as_slice(), None)].into_iter()).unwrap();
                    called.remove(&key);
                }
            }
            same(&view, &called, &mut dice);
            let answered = dice.random_ratio(4, 5);
            view.settle(answered);
            now = if answered { called } else { now };
            match dice.random_range(0..8) {
                // A snapshot that only a crash of the plugin needs.
                0 => {
                    state.absorb(view.take_changes());
                    view.rebase(state.clone());
                    kept = now.clone();
                }
                // A commit.
                1 | 2 => {
                    state.absorb(view.take_changes());
                    save(&mut state, &mut stored);
                    view.rebase(state.clone());
                    (committed, kept) = (now.clone(), now.clone());
                }
                // A crash of the plugin.
                3 => {
                    view = View::new(state.clone(), MOST, MOST);
                    now = kept.clone();
                }
                // A crash of the host.
                4 => {
                    state = in_pieces(full, restored(&stored));
                    view = View::new(state.clone(), MOST, MOST);
                    (kept, now) = (committed.clone(), committed.clone());
                }
                _ => {}
            }
            same(&view, &now, &mut dice);
        }
    }
}

#[test]
fn a_snapshot_costs_what_changed_however_many_came_before() {
    let (keys, changed) = (20_000_u64, 200);
    let (mut state, mut stored, mut dice) = (KeyedState::default(), BTreeMap::new(), StdRng::seed_from_u64(1));
    let put = |state: &mut KeyedState, key: u64, value: u64| {
        let mut changes = Changes::default();
        changes.put(&key.to_be_bytes(), Some(&value.to_be_bytes()));
        state.absorb(changes);
    };
    (0..keys).for_each(|key| put(&mut state, key, 0));
    let whole = save(&mut state, &mut stored);
    assert_eq!(save(&mut state, &mut stored), 0, "nothing changed");
    let mut written = Vec::new();
    for commit in 1..=600 {
        (0..changed).for_each(|_| put(&mut state, dice.random_range(0..keys), commit));
        written.push(save(&mut state, &mut stored));
        assert!(stored.len() <= 4 * 8, "{} runs", stored.len());
    }
    let average = |commits: &[usize]| commits.iter().sum::<usize>() / commits.len();
    let (early, late) = (average(&written[..200]), average(&written[400..]));
    assert!(early * 20 < whole && late * 20 < whole, "{early} and {late} of {whole}");
    assert!(late < early * 13 / 10, "{early}, then {late}");
    let kept: usize = stored.values().map(Bytes::len).sum();
    assert!(kept < whole * 5 / 2, "{kept} for {whole}");
    for _ in 0..2 {
        let mut changes = Changes::default();
        (0..keys).for_each(|key| changes.put(&key.to_be_bytes(), None));
        state.absorb(changes);
        save(&mut state, &mut stored);
    }
    assert!(stored.is_empty(), "what was removed is forgotten");
}

#[test]
fn large_runs_lie_in_files_and_are_found_there() {
    let (mut state, mut stored) = (in_pieces(2 * LEAST, KeyedState::default()), BTreeMap::new());
    let mut changes = Changes::default();
    let value = |key: u32| vec![key as u8; 500];
    (0..10_000).for_each(|key: u32| changes.put(&key.to_be_bytes(), Some(&value(key))));
    state.absorb(changes);
    assert!(save(&mut state, &mut stored) > 4 * LEAST);
    assert_eq!(stored.len(), 3, "pieces");
    for state in [&state, &restored(&stored)] {
        assert!((0..10_000).all(|key: u32| state.get(&key.to_be_bytes()) == Some(&value(key))));
        assert!(state.get(&10_000_u32.to_be_bytes()).is_none());
    }
}

#[test]
fn a_state_larger_than_it_may_be_and_damaged_runs_are_refused() {
    let mut view = View::new(KeyedState::default(), 10_000, 100);
    let entry = |size: usize| [(b"k".as_slice(), Some(vec![1; size]))];
    let put = |view: &mut View, size| view.change(entry(size).iter().map(|(key, value)| (*key, value.as_deref())));
    put(&mut view, 9_000).unwrap();
    put(&mut view, 9_500).unwrap();
    assert_eq!(put(&mut view, 10_000), Err(Refused::Full));
    view.settle(false);
    put(&mut view, 80).unwrap();
    assert!(view.get_all([b"k".as_slice()].into_iter()).is_ok());
    assert_eq!(view.get_all([b"k".as_slice(); 2].into_iter()).unwrap_err(), Refused::Answer);
    view.settle(true);
    let (mut state, mut stored) = (KeyedState::default(), BTreeMap::new());
    state.absorb(view.take_changes());
    save(&mut state, &mut stored);
    let bytes = stored["keyed-0.0"].clone();
    let refused = |parts: &[(&str, Bytes)], what: &str| {
        let mut parts = parts.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
        let error = KeyedState::restore(&mut parts).unwrap_err();
        assert!(error.contains(what), "{error}");
    };
    for cut in 0..bytes.len() {
        refused(&[("keyed-0.0", bytes.slice(..cut))], "`keyed-0.0`");
    }
    refused(&[("keyed-3.1", bytes.clone())], "`keyed-3.1`: the piece before it is missing");
    refused(&[("keyed-3.0", bytes.clone()), ("keyed-3.1", bytes)], "`keyed-3.1`: its keys are not behind");
}
