//! Keys that sort, entries that are cached, and states whose bytes are equal.

use std::collections::HashMap;

use super::*;
use crate::{Answer, Array, Batch, DataType, Field, Handler, Input, Schema, canonical, testing::conformance};

/// Bytes of keys, given in their order, rise, and none begins with another; all come back.
fn sorted<K: Key + PartialEq + fmt::Debug>(keys: Vec<K>) {
    let bytes: Vec<Vec<u8>> = keys.iter().map(|key| to_bytes(key)).collect();
    for pair in bytes.windows(2) {
        assert!(pair[0] < pair[1] && !pair[1].starts_with(&pair[0]), "{keys:?}: {pair:?}");
    }
    for (key, bytes) in keys.iter().zip(&bytes) {
        assert_eq!(K::read(bytes).as_ref(), Some(key));
        assert!((0..bytes.len()).all(|cut| K::read(&bytes[..cut]).is_none()), "{key:?} cut short");
    }
}

fn to_bytes(key: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

#[test]
fn bytes_of_keys_sort_as_keys_do() {
    sorted(vec![i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX]);
    sorted(vec![i8::MIN, -1, 0, i8::MAX]);
    sorted(vec![i128::MIN, -1, 0, i128::MAX]);
    sorted(vec![0_u64, 1, 255, 256, u64::MAX]);
    sorted(vec![f64::NEG_INFINITY, -1.5, -0.0, 0.0, f64::MIN_POSITIVE, 1.5, f64::INFINITY]);
    sorted(vec![f32::NEG_INFINITY, -1.5, 0.0, 2.5]);
    sorted(["", "\0", "\0\0", "\0a", "a", "a\0", "a\0\0", "a\0b", "aa", "b", "\u{ff}"].map(String::from).to_vec());
    sorted(vec![vec![], vec![0], vec![0, 0], vec![0, 255], vec![1], vec![255], vec![255, 255_u8]]);
    sorted(vec![None, Some(false), Some(true)]);
    sorted(vec![("a".to_owned(), 9_u8), ("a\0".to_owned(), 0), ("aa".to_owned(), 0), ("b".to_owned(), 0)]);
}

#[test]
fn entries_are_cached_written_back_and_found_in_order() {
    let state = State::default();
    let (mut one, mut other) =
        (state.keyed::<String, u64>("one"), state.keyed::<String, Json<HashMap<String, u8>>>("other"));
    let keys: Vec<String> = (0..3_000).map(|n| format!("{n:04}")).collect();
    one.load(keys.iter().map(String::as_str));
    for key in keys.iter().chain(&keys) {
        one.update(key, |count| Some(count.unwrap_or(0) + 1)).unwrap();
    }
    assert_eq!(RefCell::borrow(&state.cache).store.calls, 1, "a loop over rows is one call");
    other.put("x", &Json([("a".to_owned(), 1)].into()));
    one.remove("0001");
    assert_eq!(one.update("0002", |_| None).unwrap(), None);
    let all: Vec<(String, u64)> = one.scan().collect::<Result<_>>().unwrap();
    assert_eq!((all.len(), all.first(), all.last()), (2_998, Some(&("0000".into(), 2)), Some(&("2999".into(), 2))));
    assert_eq!(other.scan().count(), 1, "tables are apart");
    assert_eq!(other.get("x").unwrap().unwrap().0["a"], 1);
    assert_eq!((one.get("0001").unwrap(), one.get("0003").unwrap()), (None, Some(2)));
    for entry in one.scan() {
        one.remove(&entry.unwrap().0);
    }
    assert_eq!(one.scan().count(), 0);
    let wrong: Keyed<String, u64> = state.keyed("other");
    assert!(wrong.get("x").unwrap_err().to_string().contains("not a u64"));
}

#[test]
fn more_than_fits_the_cache_is_written_back_meanwhile() {
    let state = State::default();
    let mut large: Keyed<u64, Vec<u8>> = state.keyed("large");
    (0..80_u64).for_each(|n| large.put(&n, &vec![1; 1 << 20]));
    assert!(RefCell::borrow(&state.cache).store.entries.len() >= 32);
    assert!((0..80_u64).all(|n| large.get(&n).unwrap().is_some_and(|value| value.len() == 1 << 20)));
}

/// Counts words, and keeps the counts as `FORM` says.
struct Words<const FORM: u8> {
    counts: HashMap<String, u64>,
    keyed: Keyed<String, u64>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

impl<const FORM: u8> Handler for Words<FORM> {
    type Settings = Nothing;

    fn open(_: Nothing, state: State) -> Result<Self> {
        let counts = state.snapshot().map(canonical::from_slice).transpose()?.unwrap_or_default();
        Ok(Self { counts, keyed: state.keyed("words") })
    }

    fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        Ok(match FORM {
            KEYED => Some(input.clone()),
            MISNAMED => Some(Schema::new(vec![Field::new("wort", DataType::Utf8)])),
            _ => None,
        })
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        let words = input.column("word")?;
        for word in (0..input.rows()).filter_map(|row| words.str(row)) {
            if FORM == KEYED {
                self.keyed.update(word, |count| Some(count.unwrap_or(0) + 1))?;
            } else {
                *self.counts.entry(word.to_owned()).or_default() += 1;
            }
        }
        Ok(if FORM == FORGETS { Answer::mask((0..input.rows()).map(|row| row == 0)) } else { Answer::All })
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        match FORM {
            KEYED | FORGETS | MISNAMED => Ok(Vec::new()),
            CANONICAL => canonical::to_vec(&self.counts),
            _ => serde_json::to_vec(&self.counts).map_err(|error| Error::fatal("json", error.to_string())),
        }
    }
}

const KEYED: u8 = 0;
const CANONICAL: u8 = 1;
const HASH_MAP: u8 = 2;
const FORGETS: u8 = 3;
const MISNAMED: u8 = 4;

fn words() -> Batch {
    let words: Vec<String> = (0..60).map(|n| format!("w{}", n % 23)).collect();
    let column: Array = words.iter().map(String::as_str).collect();
    Batch::new(Schema::new(vec![Field::new("word", DataType::Utf8)]), vec![column], 60).unwrap()
}

#[test]
fn equal_states_have_equal_bytes_or_are_caught() {
    conformance::<Words<KEYED>>(&[], &words()).unwrap();
    conformance::<Words<CANONICAL>>(&[], &words()).unwrap();
    let error = conformance::<Words<HASH_MAP>>(&[], &words()).unwrap_err();
    assert!(error.contains("other bytes") && error.contains("HashMap"), "{error}");
    let error = conformance::<Words<FORGETS>>(&[], &words()).unwrap_err();
    assert!(error.contains("other rows"), "{error}");
    let error = conformance::<Words<MISNAMED>>(&[], &words()).unwrap_err();
    assert!(error.contains("`wort` (Utf8), but the rows have `word` (Utf8)"), "{error}");
}
