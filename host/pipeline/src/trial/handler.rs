//! What a handler promises: its rows depend on the rows it got, and equal states are equal bytes.

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    compute::concat_batches,
    datatypes::{Field, Schema},
};
use serde_json::Value;
use spout_node::States;
use spout_plugin::{Error, HandlerInstance, KeyedState};

use super::{Finding, Trial, Verdict, shown};
use crate::rehearsal::as_rows;

/// What came of a run.
struct Outcome {
    rows: Vec<String>,
    saved: Saved,
}

/// What a commit would hold of it.
#[derive(Clone, Default, PartialEq)]
struct Saved {
    snapshot: Vec<u8>,
    /// All of it, as one run.
    keyed: States,
}

/// A running handler, and the keyed state that it works on.
struct Running {
    instance: HandlerInstance,
    keyed: KeyedState,
}

impl Trial {
    /// Tries the handler over these rows, which are cut as a pipeline may cut them.
    pub async fn handler(&self, rows: &RecordBatch) -> Vec<Finding> {
        let promise = "it handles the rows";
        let whole = match self.handled(rows, rows.num_rows().max(1), false).await {
            Ok(outcome) => outcome,
            Err(error) => return vec![Finding::of(promise, Err(self.smallest_row(rows, error).await))],
        };
        let (given, passed, state) = (rows.num_rows(), whole.rows.len(), whole.saved.snapshot.len());
        let keyed = if whole.saved.keyed.is_empty() { "" } else { ", and keyed state" };
        let seen = format!("{given} rows in, {passed} out, a snapshot of {state} bytes{keyed}");
        let mut findings = vec![Finding::of(promise, Ok(seen))];
        findings.push(Finding::of("a state that is restored has the bytes it had", self.restored(&whole.saved).await));
        let (half, fifth) = (given.div_ceil(2).max(1), given.div_ceil(5).max(1));
        for (size, restarts) in [(given.max(1), false), (1, false), (half, true), (fifth, true)] {
            let cut = self.handled(rows, size, restarts).await.map_err(|error| error.to_string());
            let how = match (size, restarts) {
                (size, _) if size == given => "run again".to_owned(),
                (size, true) => format!("cut into batches of {size}, with restarts"),
                (size, false) => format!("cut into batches of {size}"),
            };
            let (rows, state) = match cut {
                Ok(cut) => (same_rows(&whole.rows, &cut.rows), same_state(&whole.saved, &cut.saved)),
                Err(error) => (Err(error.clone()), Err(error)),
            };
            findings.push(Finding::of(format!("{how}, it passes on the same rows"), rows));
            findings.push(Finding::of(format!("{how}, the state has the same bytes"), state));
        }
        findings.push(Finding::of("a row of nulls does not affect its neighbours", self.nulls(rows).await));
        findings
    }

    async fn restored(&self, saved: &Saved) -> Verdict {
        let outcome = async {
            let mut running = self.restore(saved).await?;
            running.save().await
        };
        same_state(saved, &outcome.await.map_err(|error| error.to_string())?)
    }

    /// Whether a row of nulls is borne; whether it passes is up to the handler.
    async fn nulls(&self, rows: &RecordBatch) -> Verdict {
        let nullable = |field: &Field| field.clone().with_nullable(true);
        let fields: Vec<Field> = rows.schema().fields().iter().map(|field| nullable(field)).collect();
        let schema = std::sync::Arc::new(Schema::new(fields));
        let nulls: Vec<ArrayRef> = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let batch = RecordBatch::try_new(std::sync::Arc::clone(&schema), nulls).map_err(|error| error.to_string())?;
        self.handled(&batch, 1, false).await.map(|_| String::new()).map_err(|error| error.to_string())
    }

    /// The first row that fails alone.
    async fn smallest_row(&self, rows: &RecordBatch, error: Error) -> String {
        for at in 0..rows.num_rows() {
            let row = rows.slice(at, 1);
            if let Err(error) = self.handled(&row, 1, false).await {
                return format!("row {at}, {}: {error}", shown(texts(&[row]).concat()));
            }
        }
        format!("each row alone is handled, all of them are not: {error}")
    }

    async fn restore(&self, saved: &Saved) -> Result<Running, Error> {
        let keyed = KeyedState::restore(&mut saved.keyed.clone()).map_err(|reason| Error::Runtime { reason })?;
        let snapshot = Some(saved.snapshot.as_slice()).filter(|snapshot| !snapshot.is_empty());
        let instance = HandlerInstance::open(self.task.clone(), snapshot, Some(keyed.clone())).await?;
        Ok(Running { instance, keyed })
    }

    /// What comes of `rows`, cut into batches of `size`; if it `restarts`, each goes to another instance.
    async fn handled(&self, rows: &RecordBatch, size: usize, restarts: bool) -> Result<Outcome, Error> {
        let mut running = self.restore(&Saved::default()).await?;
        let mut passed = Vec::new();
        for from in (0..rows.num_rows()).step_by(size) {
            if restarts && from > 0 {
                running = self.restore(&running.save().await?).await?;
            }
            let batch = rows.slice(from, size.min(rows.num_rows() - from));
            let answer = running.instance.process(&batch).await?;
            let failed = |error: arrow::error::ArrowError| Error::Runtime { reason: error.to_string() };
            passed.extend(answer.map(|answer| answer.apply(&batch)).transpose().map_err(failed)?);
        }
        let saved = running.save().await?;
        passed.extend(running.instance.finish().await?);
        Ok(Outcome { rows: texts(&passed), saved })
    }
}

impl Running {
    async fn save(&mut self) -> Result<Saved, Error> {
        let snapshot = self.instance.snapshot().await?;
        self.instance.keep_changes(&mut self.keyed);
        Ok(Saved { snapshot, keyed: self.keyed.clone().whole().map_err(Error::Unspilled)? })
    }
}

/// The rows as text. Batches of other columns are rows of other columns.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let text = |batch: &RecordBatch| {
        as_rows(std::slice::from_ref(batch)).into_iter().map(|row| Value::Object(row).to_string())
    };
    let joined = batches.first().and_then(|first| concat_batches(&first.schema(), batches).ok());
    match &joined {
        Some(joined) => text(joined).collect(),
        None => batches.iter().flat_map(text).collect(),
    }
}

fn same_rows(once: &[String], again: &[String]) -> Verdict {
    let at = once.iter().zip(again).take_while(|(one, other)| one == other).count();
    match (once.get(at), again.get(at)) {
        (None, None) => Ok(String::new()),
        (one, other) => {
            let row = |row: Option<&String>| row.map_or_else(|| "missing".to_owned(), shown);
            Err(format!("row {at} of those passed on was {}, and now is {}", row(one), row(other)))
        }
    }
}

fn same_state(once: &Saved, again: &Saved) -> Verdict {
    let advice = "sort what a map or set without an order holds, or keep it in keyed state";
    if once.snapshot != again.snapshot {
        let at = once.snapshot.iter().zip(&again.snapshot).take_while(|(one, other)| one == other).count();
        let (one, other) = (once.snapshot.len(), again.snapshot.len());
        return Err(format!("the snapshots ({one} and {other} bytes) differ from byte {at} on; {advice}"));
    }
    if once.keyed != again.keyed {
        let bytes = |saved: &Saved| saved.keyed.values().map(|part| part.len()).sum::<usize>();
        let (one, other) = (bytes(once), bytes(again));
        return Err(format!("the keyed states ({one} and {other} bytes) differ; {advice}"));
    }
    Ok(String::new())
}
