//! Changes within a JSON value, so that what comes out is JSON still.

use serde_json::{Map, Value};

use crate::Random;

/// Changes `value` in one place or a few: a number becomes one at an edge, a text one of `words`, anything anything else of the
/// value.
pub fn change_json(random: &mut Random, value: &mut Value, words: &[&str]) {
    for _ in 0..=random.below(3) {
        let other = pick(random, value).clone();
        let new = match random.below(8) {
            0 | 1 => number(random),
            2 | 3 if !words.is_empty() => random.pick(words).into(),
            4 => other,
            5 => random
                .pick(&[&Value::Null, &Value::Bool(true), &Value::Array(Vec::new()), &Value::Object(Map::new())])
                .clone(),
            6 => Value::Array(vec![other.clone(), other]),
            _ => number(random),
        };
        let count = nodes(value);
        let mut at = random.below(count);
        if let Some(place) = find(value, &mut at) {
            match place {
                // What is there is damaged in its own kind more often than not.
                Value::Object(map) if random.one_in(2) => {
                    let keys: Vec<String> = map.keys().cloned().collect();
                    if !keys.is_empty() {
                        let key = &keys[random.below(keys.len())];
                        drop(if random.one_in(2) { map.remove(key) } else { map.insert(key.clone(), new) });
                    }
                }
                Value::Array(list) if random.one_in(2) => list.push(new),
                Value::String(text) if random.one_in(2) && !words.is_empty() => text.push_str(random.pick(words)),
                place => *place = new,
            }
        }
    }
}

fn number(random: &mut Random) -> Value {
    match random.below(5) {
        0 => (*random.pick(&[
            &0_u64,
            &1,
            &2,
            &255,
            &65_535,
            &(1 << 31),
            &(1 << 32),
            &(1 << 53),
            &(u64::MAX / 2),
            &u64::MAX,
        ]))
        .into(),
        1 => (*random.pick(&[&-1_i64, &i64::MIN, &i64::MAX, &-2_147_483_648])).into(),
        2 => (1_u64 << random.below(64)).into(),
        3 => (random.next() as f64).into(),
        _ => (random.next() >> random.below(64)).into(),
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum(),
        _ => 0_usize,
    }
}

fn find<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| find(inner, left)),
        Value::Object(map) => map.values_mut().find_map(|inner| find(inner, left)),
        _ => None,
    }
}

fn pick<'a>(random: &mut Random, value: &'a Value) -> &'a Value {
    let inner: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    };
    if inner.is_empty() || random.one_in(4) {
        return value;
    }
    let chosen = inner[random.below(inner.len())];
    pick(random, chosen)
}
