//! Fields outside the schema: what happens to them, and how many there were.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UnknownField;

/// What to do with a message that has a field outside the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// The field is left out of the row and counted by name.
    #[default]
    #[serde(alias = "ignore")]
    Drop,
    /// The message is a dead letter.
    Fail,
    /// The field goes into a separate JSON text column and is counted by name.
    Capture,
}

/// Most names counted separately, as many as the host takes from a plugin; further ones are counted together.
const NAMES: usize = 99;
/// Longest name, in bytes.
const NAME: usize = 200;
/// Most keys outside the schema that a decoder remembers for faster lookup.
const LEARNED: u32 = 4096;
/// The name for all others.
const OTHERS: &str = "(others)";

/// Counts the messages that have a field outside the schema, by field name.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    slots: Vec<Slot>,
    /// Slots touched by the current message.
    touched: Vec<u32>,
    /// Remembered keys.
    learned: u32,
}

#[derive(Clone, Debug)]
struct Slot {
    name: String,
    count: u64,
    touched: bool,
}

impl Counter {
    /// The slot of a new name, or slot 0, which counts the others, if the name is too long or there are too many. Must
    /// be called once per name.
    pub fn slot(&mut self, name: String) -> u32 {
        if self.slots.is_empty() {
            self.slots.push(Slot { name: OTHERS.into(), count: 0, touched: false });
        }
        if name.len() > NAME || self.slots.len() > NAMES {
            return 0;
        }
        self.slots.push(Slot { name, count: 0, touched: false });
        u32::try_from(self.slots.len() - 1).unwrap_or(0)
    }

    /// Whether another key may be remembered.
    pub fn learns(&mut self, name: &[u8]) -> bool {
        let learns = name.len() <= NAME && self.learned < LEARNED;
        self.learned += u32::from(learns);
        learns
    }

    /// The current message has the field of this slot.
    pub fn touch(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize)
            && !slot.touched
        {
            slot.touched = true;
            self.touched.push(index);
        }
    }

    /// Ends a message; only messages with a row count.
    pub fn end(&mut self, has_row: bool) {
        for index in self.touched.drain(..) {
            if let Some(slot) = self.slots.get_mut(index as usize) {
                slot.touched = false;
                slot.count += u64::from(has_row);
            }
        }
    }

    /// The counts since the last call.
    pub fn take(&mut self) -> Vec<UnknownField> {
        let counted = self.slots.iter_mut().filter(|slot| slot.count > 0);
        counted.map(|slot| UnknownField { name: slot.name.clone(), count: std::mem::take(&mut slot.count) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_once_a_name() {
        let mut counter = Counter::default();
        let a = counter.slot("a".into());
        assert_eq!(counter.slot("x".repeat(NAME + 1)), 0);
        for has_row in [true, false, true] {
            counter.touch(a);
            counter.touch(a);
            counter.touch(0);
            counter.end(has_row);
        }
        counter.end(true);
        let expected = [("(others)", 2), ("a", 2)].map(|(name, count)| UnknownField { name: name.into(), count });
        assert_eq!(counter.take(), expected);
        assert_eq!(counter.take(), []);
    }
}
