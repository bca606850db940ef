//! Rows into rows.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Array, Batch, Error, Result, Schema};

/// A batch passed to a handler. It stays in the host; only the requested columns are copied in.
pub trait Input {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Names and types of the columns.
    fn schema(&self) -> Schema;

    /// The columns at these indices.
    ///
    /// # Errors
    /// An index is out of range.
    fn read(&self, columns: &[usize]) -> Result<Vec<Array>>;

    /// The column with this name.
    ///
    /// # Errors
    /// There is none; the message lists the existing ones.
    fn column(&self, name: &str) -> Result<Array> {
        let schema = self.schema();
        let at = schema.position(name)?;
        self.read(&[at])?.pop().ok_or_else(|| Error::fatal("column.missing", format!("no column `{name}`")))
    }
}

/// Which rows to pass on. The first three move no data.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The input unchanged.
    All,
    /// Rows whose bit is set, least significant bit first.
    Mask(Vec<u8>),
    /// These rows, in this order.
    Take(Vec<u32>),
    /// All rows, with these columns added or replaced by name.
    WithColumns(Batch),
    /// New rows.
    Fresh(Batch),
}

impl Answer {
    /// The rows for which `keep` is true, one entry per row.
    #[must_use]
    pub fn mask(keep: impl IntoIterator<Item = bool>) -> Self {
        let keep = keep.into_iter();
        let mut bits = Vec::with_capacity(keep.size_hint().0.div_ceil(8));
        let (mut byte, mut at) = (0_u8, 0);
        for keep in keep {
            byte |= u8::from(keep) << at;
            at += 1;
            if at == 8 {
                bits.push(byte);
                (byte, at) = (0, 0);
            }
        }
        if at > 0 {
            bits.push(byte);
        }
        Self::Mask(bits)
    }
}

/// Rows into rows, possibly with state.
///
/// The result must depend on the rows alone, never on how they were cut into batches.
pub trait Handler: Sized + 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;

    /// Opens a handler; `state` is the last snapshot, if there was one.
    ///
    /// # Errors
    /// The settings are wrong, or the snapshot does not fit them.
    fn open(settings: Self::Settings, state: Option<&[u8]>) -> Result<Self>;

    /// Processes a batch and returns which rows to pass on.
    ///
    /// # Errors
    /// An error stops the pipeline; nothing of the batch is committed.
    fn process(&mut self, input: &dyn Input) -> Result<Answer>;

    /// The rows still held back, once no more batches will follow.
    ///
    /// # Errors
    /// As for [`Handler::process`].
    fn finish(&mut self) -> Result<Option<Batch>> {
        Ok(None)
    }

    /// The state after every call so far. The host stores it in the commit that holds the rows: equal states must give
    /// equal bytes.
    ///
    /// # Errors
    /// As for [`Handler::process`].
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

impl Input for Batch {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn schema(&self) -> Schema {
        self.schema().clone()
    }

    fn read(&self, columns: &[usize]) -> Result<Vec<Array>> {
        let column = |&at: &usize| {
            self.columns().get(at).cloned().ok_or_else(|| Error::fatal("column.missing", format!("no column {at}")))
        };
        columns.iter().map(column).collect()
    }
}

#[doc(hidden)]
pub(crate) mod shim {
    //! Adapts the WIT interface to the trait.

    use std::{cell::RefCell, marker::PhantomData};

    use super::{Answer, Handler, Input};
    use crate::{
        Array, Batch, Result as GuestResult, Schema, boundary, parse_settings,
        wit::{
            base::spout::plugin::types as wit,
            handler::{exports::spout::plugin::handler as export, spout::plugin::data},
        },
    };

    #[derive(Debug)]
    pub struct HandlerShim<H>(PhantomData<H>);
    #[derive(Debug)]
    pub struct NodeShim<H> {
        handler: RefCell<H>,
        /// The input's schema and the host's id for it.
        input: RefCell<(u32, Schema)>,
        told: RefCell<Option<Schema>>,
    }

    struct Lent<'a> {
        batch: &'a data::Batch,
        schema: Schema,
    }

    impl Input for Lent<'_> {
        fn rows(&self) -> usize {
            self.batch.rows() as usize
        }

        fn schema(&self) -> Schema {
            self.schema.clone()
        }

        fn read(&self, columns: &[usize]) -> GuestResult<Vec<Array>> {
            let fields =
                columns.iter().map(|&at| Ok(self.schema.field(at)?.clone())).collect::<GuestResult<Vec<_>>>()?;
            let indices: Vec<u32> = columns.iter().map(|&at| at as u32).collect();
            Ok(boundary::parts::raise(Schema::new(fields), self.batch.read(&indices))?.into_columns())
        }
    }

    impl<H: Handler> export::Guest for HandlerShim<H> {
        type Node = NodeShim<H>;
    }

    impl<H> NodeShim<H> {
        fn table(&self, batch: Batch) -> export::Table {
            let (schema, batch) = boundary::parts::lower(batch);
            let mut told = self.told.borrow_mut();
            let changed = told.as_ref() != Some(&schema);
            let fields = changed.then(|| boundary::schema::lower(&schema));
            *told = Some(schema);
            export::Table { schema: fields, batch }
        }

        fn output(&self, answer: Answer) -> Vec<export::Output> {
            let rows = match answer {
                Answer::All => export::Rows::All,
                Answer::Mask(bits) => export::Rows::Masked(bits),
                Answer::Take(rows) => export::Rows::Taken(rows),
                Answer::WithColumns(columns) => export::Rows::WithColumns(self.table(columns)),
                Answer::Fresh(batch) => export::Rows::Fresh(self.table(batch)),
            };
            vec![export::Output { port: String::new(), rows }]
        }
    }

    impl<H: Handler> export::GuestNode for NodeShim<H> {
        fn open(_name: String, list: wit::Settings, state: Option<Vec<u8>>) -> Result<export::Node, wit::Error> {
            let settings = parse_settings(list.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
            let handler = RefCell::new(H::open(settings, state.as_deref())?);
            Ok(export::Node::new(Self { handler, input: RefCell::default(), told: RefCell::new(None) }))
        }

        fn process(&self, _port: String, input: &data::Batch) -> Result<Vec<export::Output>, wit::Error> {
            let batch = input;
            let id = batch.schema_id();
            let mut known = self.input.borrow_mut();
            if known.0 != id {
                *known = (id, boundary::schema::raise(batch.schema())?);
            }
            let lent = Lent { batch, schema: known.1.clone() };
            Ok(self.output(self.handler.borrow_mut().process(&lent)?))
        }

        fn tick(&self, _watermark_ms: u64) -> Result<Vec<export::Output>, wit::Error> {
            Ok(Vec::new())
        }

        fn finish(&self) -> Result<Vec<export::Output>, wit::Error> {
            let held = self.handler.borrow_mut().finish()?;
            Ok(held.map(|batch| self.output(Answer::Fresh(batch))).unwrap_or_default())
        }

        fn snapshot(&self) -> Result<Vec<u8>, wit::Error> {
            Ok(self.handler.borrow_mut().snapshot()?)
        }
    }
}
