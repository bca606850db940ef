//! The schemas that were fetched, for all decoders of a producer: what an id means never changes, so each is asked for once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use spout_base::clock::{self, Instant};
use spout_data::Messages;
use tokio::sync::OnceCell;

use super::{
    RegistryError, RegistrySpec, SchemaFormat,
    client::{Answer, Client},
    frame::{Frame, SchemaId},
    keep::Kept,
    reader::{self, Reader},
    running,
    schemas::{Described, Format, Pointer, Referred, Registration},
};
use crate::Error;

/// How long a registry may be silent before the pipeline starts again from its last commit.
const SILENT: Duration = Duration::from_secs(30);
/// How long it counts that there is no schema of an id.
const MISSING: Duration = Duration::from_secs(30);
/// Requests at a time.
const AT_ONCE: usize = 8;
/// Most bytes of schemas in memory; most ids that no schema has.
const MOST: usize = 256 << 20;
const MOST_MISSING: usize = 100_000;
/// Most schemas that one refers to, with those that these refer to, and their bytes.
const REFERENCES: usize = 256;
const REFERENCED: usize = 16 << 20;

/// The schemas of one producer, which all of its decoders share; empty until one of them needs any.
#[derive(Clone, Debug, Default)]
pub struct Schemas(Arc<OnceLock<Arc<Shelf>>>);

/// How long to wait for a registry that is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Patience {
    /// One answer.
    Once,
    /// As long as there is hope.
    Long,
}

/// The schemas of one registry.
#[derive(Debug)]
pub(in crate::decode) struct Shelf {
    client: Client,
    format: Option<SchemaFormat>,
    subject: Option<String>,
    record: Option<String>,
    kept: Option<Kept>,
    known: Mutex<Known>,
    columns: OnceCell<Option<SchemaRef>>,
    reader: Reader,
}

#[derive(Debug, Default)]
struct Known {
    verdicts: BTreeMap<SchemaId, Verdict>,
    bytes: usize,
    missing: usize,
}

/// What is known of an id.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Found(Arc<Registration>),
    /// Its schema is of no use here, and why.
    Useless(String),
    /// The registry said so then.
    Missing(Instant),
}

impl Schemas {
    /// Those of the registry of `spec`; files start at `base`.
    ///
    /// # Errors
    /// What of the settings cannot be used.
    pub(in crate::decode) fn open(&self, spec: &RegistrySpec, base: &Path, topic: &str) -> Result<Arc<Shelf>, Error> {
        if let Some(shelf) = self.0.get() {
            return Ok(Arc::clone(shelf));
        }
        let shelf = Arc::new(Shelf::new(spec, base, topic)?);
        Ok(Arc::clone(self.0.get_or_init(|| shelf)))
    }
}

impl Patience {
    fn time(self) -> Duration {
        match self {
            Self::Once => Duration::ZERO,
            Self::Long => SILENT,
        }
    }
}

impl Shelf {
    fn new(spec: &RegistrySpec, base: &Path, topic: &str) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(spec, base)?,
            format: spec.format,
            subject: spec.subject(topic),
            record: spec.record.clone(),
            kept: spec.keep.as_ref().map(|dir| Kept::at(base.join(dir))),
            known: Mutex::default(),
            columns: OnceCell::new(),
            reader: Reader::open(spec.reader.as_ref(), base)?,
        })
    }

    /// Fetches the schemas that `messages` name and that are not known.
    ///
    /// # Errors
    /// The registry gives no answer, or refuses to.
    pub(in crate::decode) async fn prepare(&self, messages: &Messages, patience: Patience) -> Result<(), Error> {
        self.read_with(patience).await?;
        let named: BTreeSet<SchemaId> =
            (0..messages.len()).filter_map(|index| Frame::of(messages, index).ok()).map(|frame| frame.id).collect();
        let wanted: Vec<SchemaId> = {
            let known = self.known();
            named.into_iter().filter(|id| !known.holds(*id)).collect()
        };
        let fetch = |id| async move { Ok::<_, Error>((id, self.fetch(id, patience).await?)) };
        let mut fetched = stream::iter(wanted).map(fetch).buffer_unordered(AT_ONCE);
        while let Some((id, verdict)) = fetched.try_next().await? {
            self.known().put(id, verdict);
        }
        Ok(())
    }

    /// What is known of `id`.
    pub(super) fn get(&self, id: SchemaId) -> Option<Verdict> {
        self.known().verdicts.get(&id).cloned()
    }

    /// Columns of the subject's latest schema when this is first asked; `None` if there is none, or none that has columns.
    ///
    /// # Errors
    /// As [`Shelf::prepare`].
    pub(in crate::decode) async fn columns(&self, patience: Patience) -> Result<Option<SchemaRef>, Error> {
        let columns = self.columns.get_or_try_init(|| self.latest(patience)).await?;
        Ok(columns.clone())
    }

    /// The schema that Avro messages are read with, where that is not their writer's; of those that were prepared for.
    pub(super) fn reader(&self) -> Option<Arc<Value>> {
        self.reader.get()
    }

    /// The same, fetched if it has to be.
    async fn read_with(&self, patience: Patience) -> Result<Option<Arc<Value>>, Error> {
        if let Reader::Latest(latest) = &self.reader {
            latest.get_or_try_init(|| self.latest_reader(patience)).await?;
        }
        Ok(self.reader.get())
    }

    async fn latest_reader(&self, patience: Patience) -> Result<Arc<Value>, Error> {
        let none = |what: String| RegistryError::Reader { what };
        let Some(subject) = &self.subject else {
            return Err(none("nothing says whose latest schema is meant; set `subject`".into()).into());
        };
        match self.described(&["subjects", subject, "versions", "latest"], patience).await? {
            Verdict::Missing(_) => Err(none(format!("the registry has no subject {subject}")).into()),
            Verdict::Useless(why) => Err(none(format!("subject {subject}: {why}")).into()),
            Verdict::Found(schema) => Ok(reader::latest(&schema)?),
        }
    }

    async fn latest(&self, patience: Patience) -> Result<Option<SchemaRef>, Error> {
        if let Some(reader) = self.read_with(patience).await? {
            return Ok(Some(reader::columns(&reader)?));
        }
        let Some(subject) = &self.subject else { return Ok(None) };
        let path = ["subjects", subject, "versions", "latest"];
        let found = self.described(&path, patience).await?;
        let columns = match found {
            Verdict::Missing(_) => Err("the registry has no such subject".to_owned()),
            Verdict::Useless(why) => Err(why),
            Verdict::Found(schema) => running::columns(&schema, self.record.as_deref()),
        };
        if let Err(why) = &columns {
            tracing::warn!("subject {subject} does not say the columns, so the first message does: {why}");
        }
        Ok(columns.unwrap_or_default())
    }

    async fn fetch(&self, id: SchemaId, patience: Patience) -> Result<Verdict, Error> {
        if let Some(schema) = self.kept.as_ref().and_then(|kept| kept.read(id)) {
            return Ok(self.suits(schema));
        }
        let name = id.to_string();
        let path = match id {
            SchemaId::Number(_) => ["schemas", "ids", &name],
            SchemaId::Guid(_) => ["schemas", "guids", &name],
        };
        let verdict = self.described(&path, patience).await?;
        if let (Some(kept), Verdict::Found(schema)) = (&self.kept, &verdict) {
            kept.write(id, schema);
        }
        tracing::debug!("schema {id} fetched");
        Ok(verdict)
    }

    fn suits(&self, schema: Registration) -> Verdict {
        match self.format {
            Some(format) if !format.is(schema.format) => {
                Verdict::Useless(format!("its schema is of {}, and `format` says another", schema.format.word()))
            }
            _ => Verdict::Found(Arc::new(schema)),
        }
    }

    /// The schema at `path`, with all that it refers to.
    async fn described(&self, path: &[&str], patience: Patience) -> Result<Verdict, Error> {
        let Answer::Found(described) = self.client.get(path, &[], patience.time(), Described::is_sound).await? else {
            return Ok(Verdict::Missing(clock::now()));
        };
        let format = match described.format() {
            Ok(format) => format,
            Err(why) => return Ok(Verdict::Useless(why)),
        };
        let Some(schema) = self.text(format, described.schema, path, &[], patience).await? else {
            return Ok(Verdict::Missing(clock::now()));
        };
        let references = self.references(format, described.references.unwrap_or_default(), patience).await?;
        Ok(match references {
            Ok(references) => self.suits(Registration { format, schema, references }),
            Err(why) => Verdict::Useless(why),
        })
    }

    /// What is kept of a schema whose text is `text`: of Protobuf its descriptor, which is asked for by itself.
    async fn text(
        &self,
        format: Format,
        text: String,
        path: &[&str],
        query: &[(&str, &str)],
        patience: Patience,
    ) -> Result<Option<String>, Error> {
        if format != Format::Protobuf {
            return Ok(Some(text));
        }
        let query: Vec<(&str, &str)> = query.iter().copied().chain([("format", "serialized")]).collect();
        Ok(match self.client.get::<Described>(path, &query, patience.time(), |_| true).await? {
            Answer::Found(described) => Some(described.schema),
            Answer::Missing => None,
        })
    }

    /// What `pointers` point to, and what that refers to, each after what it needs; or why that is not possible.
    async fn references(
        &self,
        format: Format,
        pointers: Vec<Pointer>,
        patience: Patience,
    ) -> Result<Result<Vec<Referred>, String>, Error> {
        let (mut open, mut seen) = (pointers, BTreeSet::new());
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(Pointer { name, subject, version }) = open.pop() {
            if found.len() >= REFERENCES || bytes > REFERENCED {
                return Ok(Err(format!("its schema refers to more than {REFERENCES} others, or {REFERENCED} bytes")));
            }
            // One that is met again is needed earlier than so far.
            if !seen.insert((name.clone(), subject.clone(), version)) {
                if let Some(at) = found.iter().position(|one: &Referred| one.name == name) {
                    let again = found.remove(at);
                    found.push(again);
                }
                continue;
            }
            let number = version.to_string();
            let (path, query) = (["subjects", subject.as_str(), "versions", &number], [("deleted", "true")]);
            let missing =
                || format!("its schema refers to version {version} of {subject}, which the registry does not have");
            let sound = |described: &Described| format == Format::Protobuf || described.is_sound();
            let Answer::Found(described) = self.client.get(&path, &query, patience.time(), sound).await? else {
                return Ok(Err(missing()));
            };
            open.extend(described.references.unwrap_or_default());
            let Some(schema) = self.text(format, described.schema, &path, &query, patience).await? else {
                return Ok(Err(missing()));
            };
            bytes += name.len() + schema.len();
            found.push(Referred { name, schema });
        }
        found.reverse();
        Ok(Ok(found))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn holds(&self, id: SchemaId) -> bool {
        match self.verdicts.get(&id) {
            None => false,
            Some(Verdict::Missing(since)) => since.elapsed() < MISSING,
            Some(_) => true,
        }
    }

    fn put(&mut self, id: SchemaId, verdict: Verdict) {
        if self.bytes > MOST || self.missing > MOST_MISSING {
            *self = Self::default();
        }
        match &verdict {
            Verdict::Found(schema) => self.bytes += schema.size(),
            Verdict::Useless(_) => {}
            Verdict::Missing(_) => self.missing += 1,
        }
        self.verdicts.insert(id, verdict);
    }
}
