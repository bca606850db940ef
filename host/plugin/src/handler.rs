//! Calls `handler`: a batch in, a checked answer out; the batch itself stays in the host.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array},
    buffer::{BooleanBuffer, Buffer},
    datatypes::{Field, Schema, SchemaRef},
};
use futures::future::BoxFuture;
use wasmtime::component::{Resource, ResourceAny};

use spout_data::ByteSize;

use super::{
    Error, KeyedState, World, batch::StoredBatch, bindings::exports::spout::plugin::handler as wit, convert,
    instance::Instance, kernels::Column, keyed::View, leash::Overrun, task::Task,
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

/// What a handler answers to a tick.
#[derive(Clone, Debug, Default)]
pub struct Ticked {
    /// New rows.
    pub rows: Option<RecordBatch>,
    /// The event time, in milliseconds, of the next tick it needs before a row comes; none if it needs none.
    pub next_ms: Option<i64>,
}

/// A running handler. It has state, so after a crash its owner opens another one from a snapshot.
pub struct HandlerInstance {
    task: Task,
    instance: Instance,
    guest: wit::Guest,
    node: ResourceAny,
    input: Option<(SchemaRef, u32)>,
    output: Option<SchemaRef>,
}

impl std::fmt::Debug for HandlerInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

const OUTPUT: &str = "handler.output";

type Answer<T> = Result<wasmtime::Result<Result<T, wit::Error>>, Overrun>;

impl HandlerInstance {
    /// Opens the plugin's handler, with the state of a snapshot if there is one, and with keyed state if it may have any.
    ///
    /// # Errors
    /// What the plugin says to its settings or its state, or how it crashed.
    pub fn open<'a>(
        task: Task,
        snapshot: Option<&'a [u8]>,
        keyed: Option<KeyedState>,
    ) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            let indices = task.plugin.interfaces.handler.clone().ok_or_else(|| task.plugin.lacks(World::Handler))?;
            let mut instance = Instance::open(&task).await?;
            let size = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
            let view = |keyed| View::new(keyed, size(task.limits.state), size(task.limits.answer));
            instance.store.data_mut().keyed = keyed.map(view);
            let guest = instance.load(|store, linked| indices.load(store, linked))?;
            let leash = instance.begin();
            let settings = task.settings();
            let call = guest.node();
            let answer = leash.hold(call.call_open(&mut instance.store, &task.offer, &settings, snapshot)).await;
            let node = instance.settle_for_good("handler.open", answer)?;
            settle(&mut instance, true);
            Ok(Self { task, instance, guest, node, input: None, output: None })
        })
    }

    /// Lets the guest look at `records` and say which rows go on.
    ///
    /// # Errors
    /// What the plugin says, how it crashed, or which rule its answer breaks.
    pub fn process<'a>(&'a mut self, records: &'a RecordBatch) -> BoxFuture<'a, Result<Option<Rows>, Error>> {
        Box::pin(async move {
            let batch = self.lend("handler.process", records)?;
            let leash = self.instance.begin();
            let call = self.guest.node();
            let answer = leash.hold(call.call_process(&mut self.instance.store, self.node, batch.borrowed())).await;
            let returned = self.take_back("handler.process", batch);
            let rows = self.answered("handler.process", answer, |handler, answer| {
                answer.map(|answer| handler.rows(answer, records.num_rows())).transpose()
            })?;
            returned?;
            Ok(rows)
        })
    }

    /// The columns that the guest declares to come out when those of `input` go in; none if it declares nothing.
    ///
    /// # Errors
    /// As for [`HandlerInstance::process`]; columns that it cannot work with.
    pub fn output<'a>(&'a mut self, input: &'a SchemaRef) -> BoxFuture<'a, Result<Option<SchemaRef>, Error>> {
        Box::pin(async move {
            let batch = self.lend(OUTPUT, &RecordBatch::new_empty(Arc::clone(input)))?;
            let leash = self.instance.begin();
            let call = self.guest.node();
            let answer = leash.hold(call.call_output(&mut self.instance.store, self.node, batch.borrowed())).await;
            let returned = self.take_back(OUTPUT, batch);
            let declared = self.answered(OUTPUT, answer, |handler, declared| {
                declared.map(|told| convert::schema::raise(&told, &handler.task.limits).map(Arc::new)).transpose()
            })?;
            returned?;
            Ok(declared)
        })
    }

    /// Tells the guest how far event time has come.
    ///
    /// # Errors
    /// As for [`HandlerInstance::process`].
    pub fn tick<'a>(&'a mut self, watermark_ms: i64) -> BoxFuture<'a, Result<Ticked, Error>> {
        Box::pin(async move {
            let leash = self.instance.begin();
            let call = self.guest.node();
            let answer = leash.hold(call.call_tick(&mut self.instance.store, self.node, watermark_ms)).await;
            self.answered("handler.tick", answer, |handler, wit::Ticked { rows, next_ms }| {
                Ok(Ticked { rows: rows.map(|table| handler.table(table)).transpose()?, next_ms })
            })
        })
    }

    /// Asks the guest for the rows that it still holds back.
    ///
    /// # Errors
    /// As for [`HandlerInstance::process`].
    pub fn finish<'a>(&'a mut self) -> BoxFuture<'a, Result<Option<RecordBatch>, Error>> {
        Box::pin(async move {
            let leash = self.instance.begin();
            let call = self.guest.node();
            let answer = leash.hold(call.call_finish(&mut self.instance.store, self.node)).await;
            self.answered("handler.finish", answer, |handler, rows| rows.map(|table| handler.table(table)).transpose())
        })
    }

    /// The guest's state after every call so far, apart from what is in its keyed state.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub fn snapshot<'a>(&'a mut self) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            let leash = self.instance.begin();
            let call = self.guest.node();
            let answer = leash.hold(call.call_snapshot(&mut self.instance.store, self.node)).await;
            self.answered("handler.snapshot", answer, |_, state| Ok(state))
        })
    }

    /// Moves what the calls so far changed in the keyed state into `state`, which it was opened with.
    pub fn keep_changes(&mut self, state: &mut KeyedState) {
        if let Some(view) = &mut self.instance.store.data_mut().keyed {
            state.absorb(view.take_changes());
            view.rebase(state.clone());
        }
    }

    /// Goes on over a form of the same keyed state that takes less memory.
    pub fn rebase(&mut self, state: &KeyedState) {
        if let Some(view) = &mut self.instance.store.data_mut().keyed {
            view.rebase(state.clone());
        }
    }

    /// Lets the guest look at `records` for one call.
    fn lend(&mut self, call: &'static str, records: &RecordBatch) -> Result<Loan, Error> {
        let schema_id = self.schema_id(records)?;
        let stored = StoredBatch { records: records.clone(), schema_id };
        self.instance.store.data_mut().lend(stored).map(Loan).map_err(|error| self.lost(call, &error))
    }

    fn take_back(&mut self, call: &'static str, loan: Loan) -> Result<(), Error> {
        self.instance.store.data_mut().take_back(loan.0).map(drop).map_err(|error| self.lost(call, &error))
    }

    fn lost(&self, call: &'static str, error: &wasmtime::Error) -> Error {
        Error::Trap { at: self.task.at(call), reason: error.to_string() }
    }

    /// A number that changes when the input's schema does. A schema that the interface cannot express is refused
    /// here, so that it does not count as a crash of the guest.
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

    /// What a call came to, its answer checked by `raise`. Its changes of keyed state count if nothing is wrong.
    fn answered<T, U>(
        &mut self,
        call: &'static str,
        answer: Answer<T>,
        raise: impl FnOnce(&mut Self, T) -> Result<U, String>,
    ) -> Result<U, Error> {
        let answer = self.instance.settle_for_good(call, answer);
        let raised = answer.and_then(|answer| raise(self, answer).map_err(|what| self.task.broke(call, &what)));
        settle(&mut self.instance, raised.is_ok());
        raised
    }

    /// What the guest says of `rows` rows that it was lent.
    fn rows(&mut self, answer: wit::Rows, rows: usize) -> Result<Rows, String> {
        Ok(match answer {
            wit::Rows::All => Rows::All,
            wit::Rows::Masked(bits) => Rows::Masked(mask(bits, rows)?),
            wit::Rows::Taken(indices) => Rows::Taken(taken(indices, rows)?),
            wit::Rows::WithColumns(table) => {
                let columns = self.table(table)?;
                if columns.num_rows() != rows {
                    return Err(format!("columns of {} rows for a batch of {rows} rows", columns.num_rows()));
                }
                Rows::WithColumns(columns)
            }
            wit::Rows::Fresh(table) => Rows::Fresh(self.table(table)?),
            wit::Rows::Selected(column) => {
                let column = self.column(column, rows)?;
                Rows::Masked(spout_kernels::chosen(&column).map_err(|error| error.to_string())?)
            }
            wit::Rows::WithHeld(columns) => Rows::WithColumns(self.held(columns, rows)?),
        })
    }

    /// A column that the guest hands back, of so many rows.
    fn column(&mut self, column: Resource<Column>, rows: usize) -> Result<ArrayRef, String> {
        let Column { array, .. } =
            self.instance.store.data_mut().table.delete(column).map_err(|error| error.to_string())?;
        let wrong = || format!("a column of {} rows for a batch of {rows} rows", array.len());
        if array.len() == rows { Ok(array) } else { Err(wrong()) }
    }

    /// Columns that the guest hands back, by name.
    fn held(&mut self, columns: Vec<wit::NamedColumn>, rows: usize) -> Result<RecordBatch, String> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for wit::NamedColumn { name, column } in columns {
            let array = self.column(column, rows)?;
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        // As if the guest had told them: no more of them, and no other names than it may tell.
        let schema = convert::schema::raise(&convert::schema::lower(&Schema::new(fields))?, &self.task.limits)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options).map_err(|error| error.to_string())
    }

    fn table(&mut self, table: wit::Table) -> Result<RecordBatch, String> {
        if let Some(told) = table.schema {
            self.output = Some(Arc::new(convert::schema::raise(&told, &self.task.limits)?));
        }
        let schema = self.output.as_ref().ok_or("the first answer has no schema")?;
        convert::parts::raise(Arc::clone(schema), table.batch, &self.task.limits)
    }
}

/// A batch that the guest may look at.
struct Loan(Resource<StoredBatch>);

impl Loan {
    fn borrowed(&self) -> Resource<StoredBatch> {
        Resource::new_borrow(self.0.rep())
    }
}

/// Keeps the changes of keyed state that a call made, or not.
fn settle(instance: &mut Instance, answered: bool) {
    if let Some(view) = &mut instance.store.data_mut().keyed {
        view.settle(answered);
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
