//! Calls `handler`: a batch in, a checked answer out; the batch itself stays in the host.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, RecordBatch, UInt32Array},
    buffer::{BooleanBuffer, Buffer},
    datatypes::SchemaRef,
};
use wasmtime::component::{Resource, ResourceAny};

use super::{
    Error, batch::StoredBatch, bindings::exports::spout::plugin::handler as wit, convert, instance::Instance,
    leash::Overrun, log::clean, task::Task,
};

/// Which rows a handler answers with.
#[derive(Clone, Debug)]
pub enum Rows {
    /// The input as it is.
    All,
    /// Input rows whose bit is set.
    Masked(BooleanArray),
    /// These input rows, in this order.
    Taken(UInt32Array),
    /// All input rows, with these columns added or replaced by name.
    WithColumns(RecordBatch),
    /// New rows.
    Fresh(RecordBatch),
}

/// Longest name of a port.
const PORT: usize = 256;

/// One answer.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where it goes; empty for the next handler.
    pub port: String,
    /// Which rows.
    pub rows: Rows,
}

/// A running handler. It has state, so after a crash its owner opens another one from a snapshot.
pub struct HandlerInstance {
    task: Task,
    instance: Instance,
    guest: wit::Guest,
    node: ResourceAny,
    input: Option<(SchemaRef, u32)>,
    told: Vec<(String, SchemaRef)>,
}

impl std::fmt::Debug for HandlerInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

type Answer = Result<wasmtime::Result<Result<Vec<wit::Output>, wit::Error>>, Overrun>;

impl HandlerInstance {
    /// Opens the plugin's handler `name` (empty: the only one), with the state of a snapshot if there is one.
    ///
    /// # Errors
    /// What the plugin says to its settings or its state, or how it crashed.
    pub async fn open(task: Task, name: &str, state: Option<&[u8]>) -> Result<Self, Error> {
        let indices = task.plugin.interfaces.handler.clone().ok_or_else(|| task.plugin.lacks("handler"))?;
        let mut instance = Instance::open(&task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = task.settings();
        let call = guest.node();
        let answer = leash.hold(call.call_open(&mut instance.store, name, &settings, state)).await;
        let node = instance.settle_for_good("handler.open", answer)?;
        Ok(Self { task, instance, guest, node, input: None, told: Vec::new() })
    }

    /// Lets the guest look at `records` and say which rows go on.
    ///
    /// # Errors
    /// What the plugin says, how it crashed, or which rule its answer breaks.
    pub async fn process(&mut self, port: &str, records: &RecordBatch) -> Result<Vec<Output>, Error> {
        let schema_id = self.schema_id(records)?;
        let leash = self.instance.begin();
        let stored = StoredBatch { records: records.clone(), schema_id };
        let lost = |error: wasmtime::Error, task: &Task| Error::Trap {
            at: task.at("handler.process"),
            reason: error.to_string(),
        };
        let batch = self.instance.store.data_mut().lend(stored).map_err(|error| lost(error, &self.task))?;
        let lent = Resource::new_borrow(batch.rep());
        let call = self.guest.node();
        let answer = leash.hold(call.call_process(&mut self.instance.store, self.node, port, lent)).await;
        let returned = self.instance.store.data_mut().take_back(batch);
        let outputs = self.raise("handler.process", answer, Some(records.num_rows()))?;
        returned.map_err(|error| lost(error, &self.task))?;
        Ok(outputs)
    }

    /// Tells the guest how far event time has come.
    ///
    /// # Errors
    /// As for [`HandlerInstance::process`].
    pub async fn tick(&mut self, watermark_ms: u64) -> Result<Vec<Output>, Error> {
        let leash = self.instance.begin();
        let call = self.guest.node();
        let answer = leash.hold(call.call_tick(&mut self.instance.store, self.node, watermark_ms)).await;
        self.raise("handler.tick", answer, None)
    }

    /// Asks the guest for the rows that it still holds back.
    ///
    /// # Errors
    /// As for [`HandlerInstance::process`].
    pub async fn finish(&mut self) -> Result<Vec<Output>, Error> {
        let leash = self.instance.begin();
        let call = self.guest.node();
        let answer = leash.hold(call.call_finish(&mut self.instance.store, self.node)).await;
        self.raise("handler.finish", answer, None)
    }

    /// The guest's state after every call so far.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub async fn snapshot(&mut self) -> Result<Vec<u8>, Error> {
        let leash = self.instance.begin();
        let call = self.guest.node();
        let answer = leash.hold(call.call_snapshot(&mut self.instance.store, self.node)).await;
        self.instance.settle_for_good("handler.snapshot", answer)
    }

    /// A number that changes when the input's schema does. A schema that cannot be told to a guest is refused here, where it
    /// is no crash of the guest.
    fn schema_id(&mut self, records: &RecordBatch) -> Result<u32, Error> {
        let schema = records.schema_ref();
        let id = match &self.input {
            Some((known, id)) if Arc::ptr_eq(known, schema) || known == schema => *id,
            known => {
                let told = convert::schema::lower(schema);
                told.map_err(|what| Error::Column { at: self.task.at("handler.process"), what })?;
                known.as_ref().map_or(1, |(_, id)| id + 1)
            }
        };
        self.input = Some((Arc::clone(schema), id));
        Ok(id)
    }

    /// `rows`: how many the guest was lent, `None` in a call without a batch.
    fn raise(&mut self, call: &'static str, answer: Answer, rows: Option<usize>) -> Result<Vec<Output>, Error> {
        let outputs = self.instance.settle_for_good(call, answer)?;
        let raised: Result<Vec<Output>, String> = outputs.into_iter().map(|output| self.output(output, rows)).collect();
        raised.map_err(|what| Error::Contract { at: self.task.at(call), what })
    }

    fn output(&mut self, output: wit::Output, rows: Option<usize>) -> Result<Output, String> {
        let wit::Output { port, rows: answer } = output;
        let port = clean(&port, PORT);
        let rows = match (rows, &answer) {
            (Some(rows), _) => rows,
            (None, wit::Rows::Fresh(_)) => 0,
            (None, _) => return Err("without an input batch, an answer can only have `fresh` rows".into()),
        };
        let rows = match answer {
            wit::Rows::All => Rows::All,
            wit::Rows::Masked(bits) => Rows::Masked(mask(bits, rows)?),
            wit::Rows::Taken(indices) => Rows::Taken(taken(indices, rows)?),
            wit::Rows::WithColumns(table) => {
                let columns = self.table(&port, table)?;
                if columns.num_rows() != rows {
                    return Err(format!("columns of {} rows for a batch of {rows} rows", columns.num_rows()));
                }
                Rows::WithColumns(columns)
            }
            wit::Rows::Fresh(table) => Rows::Fresh(self.table(&port, table)?),
        };
        Ok(Output { port, rows })
    }

    fn table(&mut self, port: &str, table: wit::Table) -> Result<RecordBatch, String> {
        let known = self.told.iter().position(|(name, _)| name == port);
        let schema = match (table.schema, known) {
            (Some(told), known) => {
                let schema: SchemaRef = Arc::new(convert::schema::raise(&told, &self.task.limits)?);
                match known.and_then(|at| self.told.get_mut(at)) {
                    Some(entry) => entry.1 = Arc::clone(&schema),
                    None => self.told.push((port.to_owned(), Arc::clone(&schema))),
                }
                schema
            }
            (None, Some(at)) => self.told.get(at).map(|(_, schema)| Arc::clone(schema)).ok_or("no schema")?,
            (None, None) => return Err(format!("the first answer on port `{port}` has no schema")),
        };
        convert::parts::raise(schema, table.batch, &self.task.limits)
    }
}

/// Indices below `rows`, each at most once: a few bytes of indices must not grow into gigabytes of rows.
fn taken(indices: Vec<u32>, rows: usize) -> Result<UInt32Array, String> {
    let mut seen = vec![false; rows];
    for &index in &indices {
        match seen.get_mut(index as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("row {index} was taken twice; answer `fresh` rows to repeat one")),
            None => return Err(format!("row {index} was taken of a batch of {rows} rows")),
        }
    }
    Ok(UInt32Array::from(indices))
}

/// A bitmap of exactly `rows` bits.
fn mask(bits: Vec<u8>, rows: usize) -> Result<BooleanArray, String> {
    if bits.len() != rows.div_ceil(8) {
        return Err(format!("a mask of {} bytes for {rows} rows, which need {}", bits.len(), rows.div_ceil(8)));
    }
    Ok(BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_one_bit_a_row() {
        assert_eq!(mask(vec![0b101], 3).unwrap(), BooleanArray::from(vec![true, false, true]));
        assert!(mask(vec![0, 0], 8).is_err());
        assert!(mask(vec![], 1).is_err());
        assert_eq!(mask(vec![], 0).unwrap().len(), 0);
    }

    #[test]
    fn a_row_is_taken_once_and_exists() {
        assert_eq!(taken(vec![2, 0], 3).unwrap(), UInt32Array::from(vec![2, 0]));
        assert!(taken(vec![3], 3).unwrap_err().contains("of 3 rows"));
        assert!(taken(vec![1, 1], 3).unwrap_err().contains("twice"));
    }
}
