//! A table that rows are looked up in, at one version from one cut of the pipeline to the next.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use futures::lock::Mutex;
use spout_base::clock::{self, Instant};
use spout_data::Upstream;

use super::{
    LookupSpec, Picked,
    keyed::{Holding, Keyed, Progress},
    source::{TableError, TableName, TableReader, TableStore, TableVersion},
};
use crate::{Error, columns};

/// Tries to read a version before its error counts: what it consists of may be collected meanwhile if there is a newer one.
const TRIES: usize = 3;

/// The tables of a pipeline, by the handler that looks in them. All copies are the same tables.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    store: Option<Arc<dyn TableStore>>,
    open: Arc<Mutex<BTreeMap<String, Arc<Table>>>>,
}

impl Tables {
    /// Tables of `store`. Without one, nothing is known of them.
    #[must_use]
    pub fn new(store: Arc<dyn TableStore>) -> Self {
        Self { store: Some(store), open: Arc::default() }
    }

    /// The table of a handler: one, however often the handler is opened.
    ///
    /// # Errors
    /// [`Error::NoTable`]; a table that cannot be read; [`Error::Spec`] if it has not the columns.
    pub(super) async fn open(&self, spec: &LookupSpec) -> Result<Arc<Table>, Error> {
        let mut open = self.open.lock().await;
        if let Some(table) = open.get(&spec.id) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::new(spec, self.store.as_deref()));
        table.look().await?;
        open.insert(spec.id.clone(), Arc::clone(&table));
        Ok(table)
    }

    /// Reads those that exist, so that what is wrong with them shows before the first row.
    ///
    /// # Errors
    /// A table that cannot be read, is too large, or has two rows of one key where it must not.
    pub async fn load(&self) -> Result<(), Error> {
        for table in self.open.lock().await.values() {
            table.load().await?;
        }
        Ok(())
    }

    /// Ends a commit: the versions that its rows were looked up in. The rows to come may meet newer ones.
    pub async fn cut(&self) -> Vec<Upstream> {
        let mut commits: Vec<Upstream> = Vec::new();
        for table in self.open.lock().await.values() {
            let commit = table.cut().await;
            commits.extend(commit.filter(|commit| !commits.contains(commit)));
        }
        commits
    }
}

/// One table.
pub(super) struct Table {
    name: TableName,
    every: Duration,
    holding: Holding,
    picked: Picked,
    /// Settled by the first version, for as long as the pipeline runs.
    columns: OnceLock<TableColumns>,
    state: Mutex<State>,
}

/// The columns of a table that are used.
#[derive(Debug)]
pub(super) struct TableColumns {
    /// By their names in the table, those of the key first.
    pub(super) read: SchemaRef,
    /// Those that rows get, by their new names.
    pub(super) given: SchemaRef,
    /// What these are called in the table.
    from: Vec<String>,
}

#[derive(Default)]
struct State {
    reader: Option<Box<dyn TableReader>>,
    /// A version that was seen and not read yet.
    seen: Option<TableVersion>,
    held: Option<(Arc<Keyed>, Upstream)>,
    looked: Option<Instant>,
    /// Whether the version stays until the next cut, because rows have met it.
    fixed: bool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).field("columns", &self.columns.get()).finish_non_exhaustive()
    }
}

impl Table {
    fn new(spec: &LookupSpec, store: Option<&dyn TableStore>) -> Self {
        let name = spec.table();
        let state = State { reader: store.map(|store| store.table(&name)), ..State::default() };
        let holding = Holding {
            handler: spec.id.clone(),
            table: name.to_string(),
            keys: spec.on.pairs().into_iter().map(|(_, name)| name).collect(),
            duplicates: spec.duplicates,
            limit: spec.limits.bytes,
        };
        Self {
            every: spec.every.0,
            holding,
            picked: spec.columns.clone(),
            columns: OnceLock::new(),
            state: Mutex::new(state),
            name,
        }
    }

    /// The columns that are read of it, once they are known.
    pub(super) fn columns(&self) -> Option<&TableColumns> {
        self.columns.get()
    }

    /// Its rows for the open commit: what it is now, if no row of the commit was looked up yet. Waits for its first version.
    pub(super) async fn current(&self) -> Result<Arc<Keyed>, Error> {
        let mut state = self.state.lock().await;
        if !state.fixed {
            self.refresh(&mut state).await?;
            state.fixed = true;
        }
        match &state.held {
            Some((keyed, _)) => Ok(Arc::clone(keyed)),
            None => Err(self.missing("nothing says where tables are".into())),
        }
    }

    /// Looks for a first version without reading it, so that its columns are known.
    async fn look(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        state.seen = self.newer(&mut state, false).await?;
        state.seen.as_ref().map_or(Ok(()), |version| self.learn(version))
    }

    async fn load(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if state.seen.is_some() { self.refresh(&mut state).await } else { Ok(()) }
    }

    async fn cut(&self) -> Option<Upstream> {
        let mut state = self.state.lock().await;
        // Lanes may be ahead of the cut: where versions never change, all that is held counts.
        let counts = if self.name.pinned { state.fixed } else { std::mem::take(&mut state.fixed) };
        state.held.as_ref().filter(|_| counts).map(|(_, commit)| commit.clone())
    }

    /// Takes what is new.
    async fn refresh(&self, state: &mut State) -> Result<(), Error> {
        let early = state.looked.is_some_and(|looked| clock::now().duration_since(looked) < self.every);
        if state.seen.is_none() && state.held.is_some() && (self.name.pinned || early) {
            return Ok(());
        }
        let mut version = match state.seen.take() {
            Some(version) => Some(version),
            None => self.newer(state, state.held.is_none()).await?,
        };
        for tried in 1.. {
            let Some(new) = &version else { return Ok(()) };
            let error = match self.read(state, new).await {
                Err(error @ Error::Table { .. }) if tried < TRIES => error,
                read => return read,
            };
            let failed = new.commit.clone();
            if let Some(reader) = &mut state.reader {
                reader.forget();
            }
            version = self.newer(state, false).await?;
            if version.as_ref().is_none_or(|version| version.commit == failed) {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn newer(&self, state: &mut State, wait: bool) -> Result<Option<TableVersion>, Error> {
        let Some(reader) = &mut state.reader else { return Ok(None) };
        state.looked = Some(clock::now());
        reader.newer(wait).await.map_err(|error| self.failed(error))
    }

    async fn read(&self, state: &mut State, version: &TableVersion) -> Result<(), Error> {
        self.learn(version)?;
        let (Some(columns), Some(reader)) = (self.columns.get(), &mut state.reader) else { return Ok(()) };
        let empty = || Keyed::new(self.holding.clone(), &columns.from, &columns.given);
        // What is held is no more what a version has while this goes on.
        let before = state.held.take().filter(|_| !version.whole);
        let mut keyed = before.map_or_else(|| Arc::new(empty()), |(keyed, _)| keyed);
        let rows = Arc::make_mut(&mut keyed);
        let mut progress = Progress { read: 0, all: version.rows };
        while let Some(batch) = reader.next(&columns.read).await.map_err(|error| self.failed(error))? {
            progress.read += batch.num_rows() as u64;
            rows.push(&batch, &progress)?;
        }
        rows.tidy()?;
        let (handler, table, commit, keys) = (&self.holding.handler, &self.name, &version.commit.commit, rows.len());
        tracing::debug!(handler, %table, commit, keys, rows = progress.read, whole = version.whole, "read a table");
        state.held = Some((keyed, version.commit.clone()));
        Ok(())
    }

    /// Settles the columns by the first version, and compares later ones with that.
    fn learn(&self, version: &TableVersion) -> Result<(), Error> {
        let schema = &version.schema;
        let Some(known) = self.columns.get() else {
            let columns = self.columns_of(schema)?;
            // Nobody else settles them: the state is locked.
            self.columns.get_or_init(|| columns);
            return Ok(());
        };
        let changed = known.read.fields().iter().find_map(|field| match schema.field_with_name(field.name()) {
            Ok(now) if now.data_type() == field.data_type() => None,
            Ok(now) => Some(format!("column `{}` is {}, and was {}", field.name(), now.data_type(), field.data_type())),
            Err(_) => Some(format!("column `{}` is gone", field.name())),
        });
        changed.map_or(Ok(()), |what| {
            let (handler, table, commit) =
                (self.holding.handler.clone(), self.name.to_string(), version.commit.commit.clone());
            Err(Error::TableChanged { handler, table, commit, what })
        })
    }

    fn columns_of(&self, schema: &SchemaRef) -> Result<TableColumns, Error> {
        let Holding { handler, table, keys, .. } = &self.holding;
        let of = |name: &String| {
            let at = schema.index_of(name).map_err(|_| {
                let there = columns::names(schema);
                Error::spec(handler, format!("the table {table} has no column `{name}`; its columns are {there}"))
            })?;
            Ok::<_, Error>(Arc::new(schema.field(at).clone().with_nullable(true)))
        };
        let (mut read, mut given, mut from) = (Vec::<FieldRef>::new(), Vec::<FieldRef>::new(), Vec::new());
        let mut use_of = |name: &String| {
            let field = of(name)?;
            if read.iter().all(|known| known.name() != name) {
                read.push(Arc::clone(&field));
            }
            Ok::<_, Error>(field)
        };
        for name in keys {
            use_of(name)?;
        }
        for (new, name) in self.picked.of(schema, keys) {
            given.push(Arc::new(use_of(&name)?.as_ref().clone().with_name(new)));
            from.push(name);
        }
        Ok(TableColumns { read: Schema::new(read).into(), given: Schema::new(given).into(), from })
    }

    fn failed(&self, error: TableError) -> Error {
        match error {
            TableError::Missing(advice) => self.missing(advice),
            TableError::Read(source) => {
                Error::Table { handler: self.holding.handler.clone(), table: self.name.to_string(), source }
            }
        }
    }

    fn missing(&self, advice: String) -> Error {
        Error::NoTable { handler: self.holding.handler.clone(), table: self.name.to_string(), advice }
    }
}
