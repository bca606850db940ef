//! Calls `decoder`: messages in, checked rows and faults out.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use futures::future::BoxFuture;
use spout_codec::UnknownField;
use spout_data::{Messages, Origins};
use wasmtime::component::ResourceAny;

use super::{
    Error, World,
    bindings::exports::spout::plugin::decoder as wit,
    convert::{self, messages},
    instance::{CODE, Instance, MESSAGE},
    log::clean,
    task::Task,
};

const OUTPUT: &str = "decoder.output";

/// Unknown fields that are taken from one answer, and characters of their names.
const UNKNOWN: usize = 100;
const NAME: usize = 200;

/// A message that has no row, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Index of the message.
    pub message: u32,
    /// Stable and dotted, such as `json.syntax`.
    pub code: String,
    /// What was wrong, for people.
    pub reason: String,
}

/// What a decoder made of messages.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows.
    pub records: RecordBatch,
    /// The message each row came from.
    pub origins: Origins,
    /// Messages without a row, rising.
    pub faults: Vec<RowFault>,
    /// Fields that were left out of the rows.
    pub unknown: Vec<UnknownField>,
}

/// A running decoder. After a crash the next call opens a new instance, which keeps to the schema of the last answer.
#[derive(Debug)]
pub struct Decoding {
    task: Task,
    topic: String,
    fields: Option<Vec<String>>,
    settled: Option<String>,
    live: Option<Live>,
    schema: Option<SchemaRef>,
}

struct Live {
    instance: Instance,
    guest: wit::Guest,
    decoding: ResourceAny,
    /// The columns of every answer, if it has declared them.
    declared: Option<SchemaRef>,
    /// Whether this instance has told its schema.
    told: bool,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

impl Decoding {
    /// Opens the plugin's decoder for the messages of `topic`; `settled` is the schema that its rows have to keep to, as text,
    /// if there is one.
    ///
    /// # Errors
    /// What the plugin says to its settings, or how it crashed.
    pub fn open<'a>(task: Task, topic: &'a str, settled: Option<String>) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            let topic = topic.to_owned();
            let mut decoding = Self { task, topic, fields: None, settled, live: None, schema: None };
            decoding.live().await?;
            Ok(decoding)
        })
    }

    /// Whether the schema that rows have to keep to is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// Tells the schema that rows have to keep to, for the instances that are opened from now on.
    pub fn settle(&mut self, schema: String) {
        self.settled = Some(schema);
    }

    /// The columns of every answer, if the decoder has declared them.
    #[must_use]
    pub fn output(&self) -> Option<&SchemaRef> {
        self.live.as_ref()?.declared.as_ref()
    }

    /// Lets another instance try `messages` of `partition`; nothing is kept of it.
    ///
    /// # Errors
    /// As for [`Decoding::decode`].
    pub fn survives<'a>(&'a mut self, messages: &'a Messages, partition: u32) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut other = Self::open(self.task.clone(), &self.topic, self.settled.clone()).await?;
            other.decode(messages, partition).await.map(drop)
        })
    }

    /// Decodes `messages`, which are of `partition` unless they say otherwise.
    ///
    /// # Errors
    /// What the plugin says, how it crashed, or which rule its answer breaks.
    pub fn decode<'a>(&'a mut self, messages: &'a Messages, partition: u32) -> BoxFuture<'a, Result<Decoded, Error>> {
        Box::pin(async move {
            let live = self.live().await?;
            let leash = live.instance.begin();
            let headers = messages::lower_headers(messages);
            let (guest, store) = (live.guest.decoding(), &mut live.instance.store);
            let attributes = messages::lower_attributes(messages);
            let partitions = if messages.partitions.is_empty() { vec![partition; messages.len()] } else { Vec::new() };
            let mut lowered = messages::lower(messages, &headers, &attributes);
            if !partitions.is_empty() {
                lowered.partitions = &partitions;
            }
            let call = guest.call_decode(store, live.decoding, lowered);
            let answer = leash.hold(call).await;
            let decoded = live.instance.settle_for_good("decoder.decode", answer);
            if decoded.as_ref().is_err_and(Error::is_crash) {
                self.live = None;
            }
            let raised = self.raise(decoded?, messages);
            raised.map_err(|what| self.task.broke("decoder.decode", &what))
        })
    }

    fn raise(&mut self, decoded: wit::Decoded, messages: &Messages) -> Result<Decoded, String> {
        let wit::Decoded { schema, batch, origins, faults, unknown } = decoded;
        let limits = &self.task.limits;
        if let Some(told) = schema {
            let schema = convert::schema::raise(&told, limits)?;
            if let Some(declared) = self.output() {
                convert::schema::same_columns(declared, &schema)?;
            }
            self.schema = Some(Arc::new(schema));
            if let Some(live) = &mut self.live {
                live.told = true;
            }
        }
        let told = self.live.as_ref().is_some_and(|live| live.told);
        let schema = match (&self.schema, told) {
            (Some(schema), true) => Arc::clone(schema),
            _ if batch.rows == 0 && batch.nodes.is_empty() => Arc::new(Schema::empty()),
            _ => return Err("the first answer has rows but no schema".into()),
        };
        let rows = batch.rows as usize;
        let records = convert::parts::raise(schema, batch, limits)?;
        let masks = self.task.quotas.masks();
        let faults: Vec<RowFault> = faults
            .into_iter()
            .map(|fault| RowFault {
                message: fault.message,
                code: clean(&masks.hide(&fault.code), CODE),
                reason: clean(&masks.hide(&fault.reason), MESSAGE),
            })
            .collect();
        let origins = check_origins(rows, origins, &faults, messages.len())?;
        let unknown = unknown.into_iter().take(UNKNOWN);
        let unknown =
            unknown.map(|field| UnknownField { name: clean(&field.name, NAME), count: field.count }).collect();
        Ok(Decoded { records, origins, faults, unknown })
    }

    async fn live(&mut self) -> Result<&mut Live, Error> {
        if self.live.as_ref().is_none_or(|live| live.instance.spoilt()) {
            self.live = Some(self.reopen().await?);
        }
        self.live.as_mut().ok_or(Error::Closed)
    }

    async fn reopen(&mut self) -> Result<Live, Error> {
        let plugin = &self.task.plugin;
        let indices = plugin.interfaces.decoder.clone().ok_or_else(|| plugin.lacks(World::Decoder))?;
        let mut instance = Instance::open(&self.task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = self.task.settings();
        let fields: Option<Vec<&str>> = self.fields.as_ref().map(|fields| fields.iter().map(String::as_str).collect());
        let call = guest.decoding();
        let (topic, settled) = (&self.topic, self.settled.as_deref());
        let open = call.call_open(&mut instance.store, &self.task.offer, topic, fields.as_deref(), settled, &settings);
        let answer = leash.hold(open).await;
        let decoding = instance.settle_for_good("decoder.open", answer)?;
        let leash = instance.begin();
        let answer = leash.hold(call.call_output(&mut instance.store, decoding)).await;
        let declared = instance.settle_for_good(OUTPUT, answer)?;
        let declared = declared.map(|told| convert::schema::raise(&told, &self.task.limits).map(Arc::new)).transpose();
        let declared = declared.map_err(|what| self.task.broke(OUTPUT, &what))?;
        Ok(Live { instance, guest, decoding, declared, told: false })
    }
}

/// Origins and faults must name messages there are; every message has a row, a fault, or is left out as a tombstone.
fn check_origins(rows: usize, origins: Vec<u32>, faults: &[RowFault], messages: usize) -> Result<Origins, String> {
    if let Some(fault) = faults.iter().find(|fault| fault.message as usize >= messages) {
        return Err(format!("a fault names message {} of {messages}", fault.message));
    }
    if let Some(pair) = faults.windows(2).find(|pair| pair[0].message >= pair[1].message) {
        return Err(format!("faults must rise: {} stands before {}", pair[0].message, pair[1].message));
    }
    if !origins.is_empty() {
        if origins.len() != rows {
            return Err(format!("{} origins for {rows} rows", origins.len()));
        }
        if let Some(origin) = origins.iter().find(|&&origin| origin as usize >= messages) {
            return Err(format!("a row names message {origin} of {messages}"));
        }
        return Ok(Origins::Taken(origins.into()));
    }
    if rows == 0 {
        // Everything was set aside, or left out as a tombstone or a header.
        return Ok(Origins::Taken([].into()));
    }
    match (rows + faults.len() == messages, faults.is_empty()) {
        (true, true) => Ok(Origins::Each),
        (true, false) => {
            let mut bad = faults.iter().map(|fault| fault.message).peekable();
            let sound =
                (0..u32::try_from(messages).unwrap_or(u32::MAX)).filter(|&message| bad.next_if_eq(&message).is_none());
            Ok(Origins::Taken(sound.collect()))
        }
        (false, _) => Err(format!(
            "{rows} rows and {} faults for {messages} messages; where they do not add up, `origins` must say which row is which",
            faults.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: usize, origins: &[u32], faults: &[u32], messages: usize, expected: Result<Origins, &str>) {
        let fault = |&message: &u32| RowFault { message, code: "x".into(), reason: "y".into() };
        let faults: Vec<RowFault> = faults.iter().map(fault).collect();
        match (check_origins(rows, origins.to_vec(), &faults, messages), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn rows_and_faults_account_for_every_message() {
        check(3, &[], &[], 3, Ok(Origins::Each));
        check(2, &[], &[1], 3, Ok(Origins::Taken([0, 2].into())));
        check(2, &[2, 2], &[0], 3, Ok(Origins::Taken([2, 2].into())));
        check(2, &[], &[], 3, Err("2 rows and 0 faults for 3 messages"));
        check(0, &[], &[], 3, Ok(Origins::Taken([].into())));
        check(1, &[3], &[], 3, Err("a row names message 3 of 3"));
        check(2, &[0], &[], 3, Err("1 origins for 2 rows"));
        check(0, &[], &[9], 3, Err("a fault names message 9 of 3"));
        check(1, &[], &[1, 1], 3, Err("faults must rise"));
    }
}
