//! Inputs that a target begins with, and what becomes of them by a seed.

use std::{fs, path::Path};

use crate::Random;

/// Bytes that a mutated input may grow to.
const LONGEST: usize = 64 << 10;

/// Inputs, and words that mean something in them.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    inputs: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    /// What was found lies in `fuzz/TARGET/` of `room`, which is the directory of its manifest.
    ///
    /// # Panics
    /// The files cannot be read.
    #[must_use]
    pub fn of_room(room: &str, target: &str) -> Self {
        let Ok(dir) = fs::read_dir(Path::new(room).join("fuzz").join(target)) else { return Self::default() };
        let mut files: Vec<_> = dir.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        let read =
            |file: &std::path::PathBuf| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { inputs: files.iter().map(read).collect(), words: Vec::new() }
    }

    /// These inputs.
    #[must_use]
    pub fn of(inputs: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self::default().and(inputs)
    }

    /// More of them.
    #[must_use]
    pub fn and(mut self, inputs: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.inputs.extend(inputs.into_iter().map(Into::into));
        self
    }

    /// Words that mutations put into inputs.
    #[must_use]
    pub fn words(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| word.as_bytes().to_vec()));
        self
    }

    /// The input of a seed: each of the inputs as it is, and for all further seeds one of them with a few changes.
    #[must_use]
    pub fn input(&self, seed: u64) -> Vec<u8> {
        if let Some(input) = usize::try_from(seed).ok().and_then(|seed| self.inputs.get(seed)) {
            return input.clone();
        }
        let mut random = Random::new(seed);
        let mut input = self.inputs.get(random.below(self.inputs.len())).cloned().unwrap_or_default();
        // Mostly few, or nothing of what it was is left to get past the first check.
        let most = *random.pick(&[&1, &2, &3, &8, &32]);
        for _ in 0..=random.below(most) {
            self.change(&mut random, &mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&self, random: &mut Random, bytes: &mut Vec<u8>) {
        let at = random.below(bytes.len() + 1);
        let to = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(12) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *random.pick(&[&0, &1, &0x7f, &0x80, &0xff, &b'0', &b'9', &b'"', &b'\n', &b' ']);
                }
            }
            3 => bytes.insert(at, random.byte()),
            4 => drop(bytes.drain(at.min(to)..to)),
            5 => bytes.truncate(at),
            6 => {
                let again = bytes[at.min(to)..to].to_vec();
                let most = 1 << random.below(8);
                let times = 1 + random.below(most);
                let insert: Vec<u8> = again.iter().copied().cycle().take(again.len() * times).collect();
                drop(bytes.splice(at..at, insert));
            }
            7 | 8 => {
                let number = number(random);
                let end = (at + number.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            9 if !self.inputs.is_empty() => {
                let other = &self.inputs[random.below(self.inputs.len())];
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            10 => {
                let digits = random.next().to_string();
                let digits = digits[..1 + random.below(digits.len())].bytes();
                drop(bytes.splice(at.min(to)..to, digits));
            }
            _ if !self.words.is_empty() => {
                let word = self.words[random.below(self.words.len())].clone();
                let end = if random.one_in(2) { at } else { to.max(at) };
                drop(bytes.splice(at..end, word));
            }
            _ => bytes.push(random.byte()),
        }
        bytes.truncate(LONGEST);
    }
}

/// A number that stands at an edge of something, in some width and order.
fn number(random: &mut Random) -> Vec<u8> {
    let number: u64 = match random.below(4) {
        0 => *random.pick(&[
            &0,
            &1,
            &0x7f,
            &0xff,
            &0x7fff,
            &0xffff,
            &0x7fff_ffff,
            &0xffff_ffff,
            &(u64::MAX >> 1),
            &u64::MAX,
        ]),
        1 => (1 << random.below(64)) - 1,
        2 => 1 << random.below(64),
        _ => random.next() >> random.below(64),
    };
    let width = 1 << random.below(4);
    let mut bytes = number.to_le_bytes()[..width].to_vec();
    if random.one_in(2) {
        bytes.reverse();
    }
    bytes
}
