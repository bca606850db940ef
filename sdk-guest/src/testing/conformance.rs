//! What the host relies on: cuts and restarts change nothing, and equal states have equal bytes.

use super::{Running, Saved};
use crate::{Array, Batch, Field, Handler, Schema};

/// Checks a handler over rows: whole, cut at every row, and restarted from its state at some of the cuts, it passes on the
/// same rows and ends with the same bytes of state; a state that is restored has the bytes it had; rows have the columns that
/// [`Handler::output`] declares, if it does.
///
/// A state with a `HashMap` is caught only if it holds more than a few keys, so use rows with many.
///
/// # Errors
/// Which of these does not hold, or the handler's own error.
pub fn conformance<H: Handler>(settings: &[(&str, &str)], rows: &Batch) -> Result<(), String> {
    let whole = run::<H>(settings, rows, rows.rows().max(1), false)?;
    let restored = Running::<H>::restore(settings, &whole.saved).and_then(|mut running| running.save());
    differs("a restored state has other bytes", &whole.saved, &restored.map_err(|error| error.to_string())?)?;
    for (size, restarts) in [(1, false), (rows.rows().div_ceil(2).max(1), true), (rows.rows().div_ceil(5).max(1), true)]
    {
        let cut = run::<H>(settings, rows, size, restarts)?;
        let how = if restarts { "with restarts" } else { "without restarts" };
        if whole.rows != cut.rows {
            return Err(format!("cut into batches of {size}, {how}, it passes on other rows"));
        }
        differs(&format!("cut into batches of {size}, {how}, the state has other bytes"), &whole.saved, &cut.saved)?;
    }
    Ok(())
}

/// What came of a run.
struct Outcome {
    /// Each row as the bytes of its columns.
    rows: Vec<Vec<u8>>,
    saved: Saved,
}

fn run<H: Handler>(settings: &[(&str, &str)], rows: &Batch, size: usize, restarts: bool) -> Result<Outcome, String> {
    let told = |error: crate::Error| error.to_string();
    let mut running = Running::<H>::open(settings).map_err(told)?;
    let declared = running.output(rows.schema()).map_err(told)?;
    let mut passed = Vec::new();
    for from in (0..rows.rows()).step_by(size) {
        if restarts {
            running = Running::restore(settings, &running.save().map_err(told)?).map_err(told)?;
        }
        let part: Vec<u32> = (from as u32..rows.rows().min(from + size) as u32).collect();
        let batch = running.process(&rows.take(&part)).map_err(told)?;
        // A batch that is held back whole says nothing of columns.
        kept_to(declared.as_ref().filter(|_| batch.rows() > 0), &batch)?;
        passed.extend((0..batch.rows()).map(|row| bytes(batch.columns(), row)));
    }
    let saved = running.save().map_err(told)?;
    if let Some(batch) = running.finish().map_err(told)? {
        kept_to(declared.as_ref(), &batch)?;
        passed.extend((0..batch.rows()).map(|row| bytes(batch.columns(), row)));
    }
    Ok(Outcome { rows: passed, saved })
}

/// Whether rows have the columns that were declared.
fn kept_to(declared: Option<&Schema>, batch: &Batch) -> Result<(), String> {
    let column = |field: &Field| format!("`{}` ({:?})", field.name, field.data_type);
    let columns = |schema: &Schema| schema.fields().iter().map(column).collect::<Vec<_>>().join(", ");
    match declared.map(|declared| (columns(declared), columns(batch.schema()))) {
        Some((declared, found)) if declared != found => {
            Err(format!("`output` declares the columns {declared}, but the rows have {found}"))
        }
        _ => Ok(()),
    }
}

fn bytes(columns: &[Array], row: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    columns.iter().for_each(|column| column.write_key(row, &mut bytes));
    bytes
}

fn differs(what: &str, one: &Saved, other: &Saved) -> Result<(), String> {
    let place = match one.keyed.iter().zip(&other.keyed).find(|(one, other)| one != other) {
        _ if one.snapshot != other.snapshot => {
            let at = one.snapshot.iter().zip(&other.snapshot).take_while(|(one, other)| one == other).count();
            format!(
                "the snapshots ({} and {} bytes) differ from byte {at} on",
                one.snapshot.len(),
                other.snapshot.len()
            )
        }
        Some((one, _)) => format!("the keyed states differ at the key {:?}", String::from_utf8_lossy(one.0)),
        None if one.keyed.len() != other.keyed.len() => {
            format!("the keyed states have {} and {} entries", one.keyed.len(), other.keyed.len())
        }
        None => return Ok(()),
    };
    Err(format!(
        "{what}: {place}; write the entries of a HashMap or HashSet in order, as `canonical` does, or keep them in keyed state"
    ))
}
