//! What a decoder promises: rows depend on a message alone, and a bad message costs nothing but itself.

use arrow::array::RecordBatch;
use serde_json::Value;
use spout_data::{Blobs, Messages};
use spout_plugin::{Decoded, Decoding, Error};
use spout_producer::SchemaText;

use super::{Finding, Trial, Verdict, payload, shown};
use crate::rehearsal::as_rows;

/// Sound messages that the odd ones are put between.
const NEIGHBOURS: usize = 4;

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Rows(Vec<String>),
    Fault(String),
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(rows) if rows.is_empty() => f.write_str("no row"),
            Self::Rows(rows) => f.write_str(&shown(rows.join(", "))),
            Self::Fault(reason) => write!(f, "the fault {}", shown(reason)),
        }
    }
}

/// A decoder's answers to all messages, in order, and the schema it settled.
struct Answers {
    fates: Vec<Fate>,
    schema: Option<String>,
}

impl Trial {
    /// Tries the decoder over these messages.
    pub async fn decoder(&self, values: &Blobs) -> Vec<Finding> {
        let promise = "every message becomes rows or a fault";
        let whole = match self.decoded(values, values.len().max(1), false, None).await {
            Ok(answers) => answers,
            Err(error) => return vec![Finding::of(promise, Err(self.smallest_message(values, error).await))],
        };
        let rows: usize = whole.fates.iter().map(|fate| if let Fate::Rows(rows) = fate { rows.len() } else { 0 }).sum();
        let faults: Vec<&Fate> = whole.fates.iter().filter(|fate| matches!(fate, Fate::Fault(_))).collect();
        let bad = faults.len();
        let mut seen = format!("{} messages, {rows} rows, {bad} faults", values.len());
        if let Some(first) = faults.first() {
            seen += &format!("; the first is {first}");
        }
        let mut findings = vec![Finding::of(promise, Ok(seen))];
        let half = values.len().div_ceil(2).max(1);
        let ways = [
            ("the same messages again, in another instance, give the same rows", values.len().max(1), false),
            ("cut into single messages, they give the same rows", 1, false),
            ("cut into two calls, each to another instance, they give the same rows", half, true),
            ("cut into batches of 7, they give the same rows", 7, false),
        ];
        for (promise, size, restarts) in ways {
            let cut = self.decoded(values, size, restarts, whole.schema.clone()).await;
            let verdict = cut.map_err(|error| error.to_string()).and_then(|cut| same(values, &whole.fates, &cut.fates));
            findings.push(Finding::of(promise, verdict));
        }
        let odd = [
            ("an empty message", Vec::new()),
            ("a message of 1 MiB", vec![b'x'; 1 << 20]),
            ("a message of every byte", (0..=255).collect()),
        ];
        for (what, value) in odd {
            let verdict = self.between(values, &value, &whole).await;
            findings.push(Finding::of(format!("{what} does not affect its neighbours"), verdict));
        }
        findings
    }

    /// The rows of these messages, for a handler of the same plugin.
    ///
    /// # Errors
    /// What the decoder says.
    pub async fn decode(&self, values: &Blobs) -> Result<RecordBatch, Error> {
        let messages =
            Messages { values: values.clone(), offsets: (0..values.len() as u64).collect(), ..Messages::default() };
        Ok(self.opened(None).await?.decode(&messages, 0).await?.records)
    }

    /// Puts `odd` between the first messages: what those become is known.
    async fn between(&self, values: &Blobs, odd: &[u8], whole: &Answers) -> Verdict {
        let count = values.len().min(NEIGHBOURS);
        let mut mixed = Blobs::default();
        for index in 0..count {
            if index == count / 2 {
                mixed.push(odd);
            }
            mixed.push(values.get(index));
        }
        if count == 0 {
            mixed.push(odd);
        }
        let answers = self.decoded(&mixed, mixed.len(), false, whole.schema.clone()).await;
        let mut fates = answers.map_err(|error| error.to_string())?.fates;
        let own = fates.remove(count / 2);
        same(values, whole.fates.get(..count).unwrap_or_default(), &fates)?;
        Ok(format!("it becomes {own}"))
    }

    /// The first message that fails alone.
    async fn smallest_message(&self, values: &Blobs, error: Error) -> String {
        for index in 0..values.len() {
            let alone = values.slice(index..index + 1);
            if let Err(error) = self.decoded(&alone, 1, false, None).await {
                return format!("message {index}, {}: {error}", payload(values.get(index)));
            }
        }
        format!("each message alone is decoded, all of them are not: {error}")
    }

    /// What becomes of `values`, cut into calls of `size` messages, each to another instance if it `restarts`.
    async fn decoded(
        &self,
        values: &Blobs,
        size: usize,
        restarts: bool,
        settled: Option<String>,
    ) -> Result<Answers, Error> {
        let mut decoding = self.opened(settled.clone()).await?;
        let mut answers = Answers { fates: Vec::new(), schema: settled };
        for from in (0..values.len()).step_by(size) {
            let to = values.len().min(from + size);
            if restarts && from > 0 {
                decoding = self.opened(answers.schema.clone()).await?;
            }
            let offsets = (from as u64..to as u64).collect();
            let messages = Messages { values: values.slice(from..to), offsets, ..Messages::default() };
            let decoded = decoding.decode(&messages, 0).await?;
            let schema = decoded.records.schema();
            if answers.schema.is_none() && decoded.records.num_rows() > 0 {
                let text = SchemaText::print(&schema).ok().and_then(|text| serde_json::to_string(&text).ok());
                answers.schema = text;
            }
            answers.fates.extend(fates(&decoded, messages.len()));
        }
        Ok(answers)
    }

    async fn opened(&self, settled: Option<String>) -> Result<Decoding, Error> {
        Decoding::open(self.task.clone(), &self.topic, settled).await
    }
}

/// What became of each of `messages` messages.
fn fates(decoded: &Decoded, messages: usize) -> Vec<Fate> {
    let mut fates = vec![Fate::Rows(Vec::new()); messages];
    for (row, text) in as_rows(std::slice::from_ref(&decoded.records)).into_iter().enumerate() {
        let origin = decoded.origins.message(row).and_then(|origin| fates.get_mut(origin));
        if let Some(Fate::Rows(rows)) = origin {
            rows.push(Value::Object(text).to_string());
        }
    }
    for fault in &decoded.faults {
        if let Some(fate) = fates.get_mut(fault.message as usize) {
            *fate = Fate::Fault(format!("{}: {}", fault.code, fault.reason));
        }
    }
    fates
}

fn same(values: &Blobs, once: &[Fate], again: &[Fate]) -> Verdict {
    match once.iter().zip(again).position(|(one, other)| one != other) {
        None => Ok(String::new()),
        Some(at) => {
            Err(format!("message {at}, {}, was {}, and now is {}", payload(values.get(at)), once[at], again[at]))
        }
    }
}
