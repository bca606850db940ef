//! Rows into rows.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

#[cfg(feature = "kernels")]
use crate::kernels::{Column, Inner};
use crate::{Array, Batch, Error, Result, Schema, State};

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

    /// The column with this name, which stays in the host: for its kernels.
    ///
    /// # Errors
    /// There is none; the message lists the existing ones.
    #[cfg(feature = "kernels")]
    fn held(&self, name: &str) -> Result<Column>;

    /// What these columns hold in each row, as bytes that are equal if the values are: keys for [`Keyed`](crate::Keyed) state.
    ///
    /// # Errors
    /// A column does not exist.
    fn keys(&self, columns: &[String]) -> Result<Vec<Vec<u8>>> {
        let schema = self.schema();
        let places = columns.iter().map(|column| Ok(schema.position(column)?)).collect::<Result<Vec<_>>>()?;
        let columns = self.read(&places)?;
        let key = |row| {
            let mut key = Vec::new();
            columns.iter().for_each(|column| column.write_key(row, &mut key));
            key
        };
        Ok((0..self.rows()).map(key).collect())
    }
}

/// Which rows to pass on. [`Answer::WithColumns`] and [`Answer::Fresh`] move data, the others none.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The input unchanged.
    All,
    /// Rows whose bit is set, least significant bit first.
    Mask(Vec<u8>),
    /// These rows, in this order.
    Take(Vec<u32>),
    /// Rows for which this column of booleans is true.
    #[cfg(feature = "kernels")]
    Selected(Column),
    /// All rows, with these columns added or replaced by name.
    WithColumns(Batch),
    /// The same with columns that the host holds.
    #[cfg(feature = "kernels")]
    WithHeld(Vec<(String, Column)>),
    /// New rows.
    Fresh(Batch),
    /// No rows: they are held back, or have become part of the state.
    Nothing,
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

/// The answer to a tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ticked {
    /// Rows that this time releases.
    pub rows: Option<Batch>,
    /// When there is something to do even if no row comes before, in milliseconds since 1970; `None`: nothing until the
    /// next row. The host skips the instants in between.
    pub next_ms: Option<i64>,
}

/// Rows into rows, possibly with state.
///
/// The result must depend on the rows alone, never on how they were cut into batches. State is what survives in the
/// commit: tables of [`State::keyed`], and [`Handler::snapshot`] for the rest.
///
/// A handler that must wait, or forget, needs event time: with `time` and `tick` in its spec, rows come in order of event
/// time over all partitions, and [`Handler::tick`] says how far it has come. This one emits a row for each session, and
/// forgets it:
///
/// ```ignore
#[doc = include_str!("../examples/sessions.rs")]
/// ```
///
/// ```yaml
/// - {type: plugin, plugin: sessions, settings: {gap: 1800000}, time: {column: at, lateness: 10s}, tick: 1m}
/// ```
pub trait Handler: Sized + 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;

    /// Opens a handler with the state of the last commit, which is empty if there is none.
    ///
    /// # Errors
    /// The settings are wrong, or the state does not fit them.
    fn open(settings: Self::Settings, state: State) -> Result<Self>;

    /// The columns that come out (all of them, in order) when those of `input` go in; `None`: only the rows will tell.
    ///
    /// Declared columns show in `spout check -v`, and later handlers that name other columns are found before anything
    /// runs; the host refuses answers that lead to other columns. [`Schema::with`] is the answer of a handler that
    /// [adds columns](Answer::WithColumns), a clone of `input` that of one that only chooses rows. It must not depend on rows.
    ///
    /// # Errors
    /// The handler cannot work with these columns: [`Schema::position`] is the error where one is missing.
    fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        let _ = input;
        Ok(None)
    }

    /// Processes a batch and returns which rows to pass on.
    ///
    /// # Errors
    /// An error stops the pipeline; nothing of the batch is committed.
    fn process(&mut self, input: &dyn Input) -> Result<Answer>;

    /// Event time has reached `watermark_ms` (since 1970): every row before it was processed, and none at or after it.
    ///
    /// Called if the spec gives a `tick` period, at multiples of it: at the first one after the newest row, then at the
    /// first one that is not before [`Ticked::next_ms`], until rows come. Which instants these are depends on event times
    /// alone. None follows the last row: [`Handler::finish`] does.
    ///
    /// # Errors
    /// As for [`Handler::process`].
    fn tick(&mut self, watermark_ms: i64) -> Result<Ticked> {
        let _ = watermark_ms;
        Ok(Ticked::default())
    }

    /// The rows still held back, once no more batches will follow.
    ///
    /// # Errors
    /// As for [`Handler::process`].
    fn finish(&mut self) -> Result<Option<Batch>> {
        Ok(None)
    }

    /// The state after every call so far, apart from keyed state. The host stores it in the commit that holds the rows:
    /// equal states must give equal bytes, which [`canonical`](crate::canonical) makes of any state and
    /// [`testing::conformance`](crate::testing::conformance) checks. All of it is copied for each commit: keep what grows in
    /// [`State::keyed`].
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

    #[cfg(all(feature = "kernels", not(target_arch = "wasm32")))]
    fn held(&self, name: &str) -> Result<Column> {
        let at = Batch::schema(self).position(name)?;
        let array = self.columns().get(at).ok_or_else(|| Error::fatal("column.missing", format!("no column {at}")))?;
        Inner::native(Batch::schema(self).field(at)?, array).map(Column)
    }

    /// A batch of the guest's own is not in the host.
    #[cfg(all(feature = "kernels", target_arch = "wasm32"))]
    fn held(&self, name: &str) -> Result<Column> {
        Err(Error::fatal("kernel.batch", format!("column `{name}` is not of a batch that the host holds")))
    }
}

#[doc(hidden)]
pub mod shim {
    //! Adapts the WIT interface to the trait.

    use std::{
        cell::{RefCell, RefMut},
        marker::PhantomData,
        rc::Rc,
    };

    use super::{Answer, Handler, Input, Ticked};
    #[cfg(feature = "kernels")]
    use super::{Column, Inner};
    use crate::{
        Array, Batch, Result as GuestResult, Schema, State, boundary,
        decoder::shim::texts,
        keyed::Cache,
        parse_settings,
        register::{self, Offers, named},
        wit::{
            base::{exports::spout::plugin::about::Offer, spout::plugin::types as wit},
            handler::{exports::spout::plugin::handler as export, spout::plugin::data},
        },
    };

    /// Any handler.
    pub trait Handle {
        fn output(&self, input: &Schema) -> GuestResult<Option<Schema>>;
        fn process(&mut self, input: &dyn Input) -> GuestResult<Answer>;
        fn tick(&mut self, watermark_ms: i64) -> GuestResult<Ticked>;
        fn finish(&mut self) -> GuestResult<Option<Batch>>;
        fn snapshot(&mut self) -> GuestResult<Vec<u8>>;
    }

    impl<H: Handler> Handle for H {
        fn output(&self, input: &Schema) -> GuestResult<Option<Schema>> {
            Handler::output(self, input)
        }

        fn process(&mut self, input: &dyn Input) -> GuestResult<Answer> {
            Handler::process(self, input)
        }

        fn tick(&mut self, watermark_ms: i64) -> GuestResult<Ticked> {
            Handler::tick(self, watermark_ms)
        }

        fn finish(&mut self) -> GuestResult<Option<Batch>> {
            Handler::finish(self)
        }

        fn snapshot(&mut self) -> GuestResult<Vec<u8>> {
            Handler::snapshot(self)
        }
    }

    pub type Open = fn(&wit::Settings, State) -> GuestResult<Box<dyn Handle>>;

    #[must_use]
    pub const fn open<H: Handler>() -> Open {
        |list, state| Ok(Box::new(H::open(parse_settings(texts(list))?, state)?))
    }

    #[must_use]
    pub fn offer<H: Handler>(name: &str, summary: &str) -> Offer {
        register::offer::<H::Settings>("handler", name, summary)
    }

    #[derive(Debug)]
    pub struct Shim<P>(PhantomData<P>);

    pub struct Node<P> {
        handler: RefCell<Box<dyn Handle>>,
        cache: Rc<RefCell<Cache>>,
        /// The input's schema and the host's id for it.
        input: RefCell<(u32, Schema)>,
        told: RefCell<Option<Schema>>,
        plugin: PhantomData<P>,
    }

    impl<P> std::fmt::Debug for Node<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Node")
        }
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

        #[cfg(feature = "kernels")]
        fn held(&self, name: &str) -> GuestResult<Column> {
            Inner::of(self.batch, self.schema.position(name)?).map(Column)
        }
    }

    impl<P: Offers<Open>> export::Guest for Shim<P> {
        type Node = Node<P>;
    }

    impl<P> Node<P> {
        fn table(&self, batch: Batch) -> export::Table {
            let (schema, batch) = boundary::parts::lower(batch);
            let mut told = self.told.borrow_mut();
            let changed = told.as_ref() != Some(&schema);
            let fields = changed.then(|| boundary::schema::lower(&schema));
            *told = Some(schema);
            export::Table { schema: fields, batch }
        }

        fn rows(&self, answer: Answer) -> GuestResult<Option<export::Rows>> {
            Ok(Some(match answer {
                Answer::All => export::Rows::All,
                Answer::Mask(bits) => export::Rows::Masked(bits),
                Answer::Take(rows) => export::Rows::Taken(rows),
                #[cfg(feature = "kernels")]
                Answer::Selected(column) => export::Rows::Selected(column.0.give()?),
                Answer::WithColumns(columns) => export::Rows::WithColumns(self.table(columns)),
                #[cfg(feature = "kernels")]
                Answer::WithHeld(columns) => {
                    let named =
                        |(name, column): (String, Column)| Ok(export::NamedColumn { name, column: column.0.give()? });
                    export::Rows::WithHeld(columns.into_iter().map(named).collect::<GuestResult<_>>()?)
                }
                Answer::Fresh(batch) => export::Rows::Fresh(self.table(batch)),
                Answer::Nothing => return Ok(None),
            }))
        }

        /// A call of the handler, after which its cache may be emptied.
        fn call<T>(&self, call: impl FnOnce(RefMut<'_, Box<dyn Handle>>) -> GuestResult<T>) -> Result<T, wit::Error> {
            let answer = call(self.handler.borrow_mut())?;
            self.cache.borrow_mut().make_room();
            Ok(answer)
        }
    }

    impl<P: Offers<Open>> export::GuestNode for Node<P> {
        fn open(name: String, list: wit::Settings, snapshot: Option<Vec<u8>>) -> Result<export::Node, wit::Error> {
            let cache = Rc::<RefCell<Cache>>::default();
            let handler = named(P::OFFERS, &name)?(&list, State::new(snapshot, Rc::clone(&cache)))?;
            Ok(export::Node::new(Self {
                handler: RefCell::new(handler),
                cache,
                input: RefCell::default(),
                told: RefCell::new(None),
                plugin: PhantomData,
            }))
        }

        fn output(&self, input: &data::Batch) -> Result<Option<wit::Schema>, wit::Error> {
            let declared = self.handler.borrow().output(&boundary::schema::raise(input.schema())?)?;
            Ok(declared.map(|schema| boundary::schema::lower(&schema)))
        }

        fn process(&self, input: &data::Batch) -> Result<Option<export::Rows>, wit::Error> {
            let batch = input;
            let id = batch.schema_id();
            let mut known = self.input.borrow_mut();
            if known.0 != id {
                *known = (id, boundary::schema::raise(batch.schema())?);
            }
            let lent = Lent { batch, schema: known.1.clone() };
            Ok(self.rows(self.call(|mut handler| handler.process(&lent))?)?)
        }

        fn tick(&self, watermark_ms: i64) -> Result<export::Ticked, wit::Error> {
            let ticked = self.call(|mut handler| handler.tick(watermark_ms))?;
            Ok(export::Ticked { rows: ticked.rows.map(|rows| self.table(rows)), next_ms: ticked.next_ms })
        }

        fn finish(&self) -> Result<Option<export::Table>, wit::Error> {
            Ok(self.call(|mut handler| handler.finish())?.map(|rows| self.table(rows)))
        }

        fn snapshot(&self) -> Result<Vec<u8>, wit::Error> {
            let snapshot = self.handler.borrow_mut().snapshot()?;
            self.cache.borrow_mut().write_back();
            self.cache.borrow_mut().make_room();
            Ok(snapshot)
        }
    }
}
