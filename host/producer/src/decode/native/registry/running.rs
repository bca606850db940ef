//! The running `registry` decoder: messages of one schema are decoded together, by the decoder of its format, and their rows
//! put in the order of messages again.

use std::{collections::BTreeMap, panic, sync::Arc};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{Field, Schema, SchemaRef},
};
use serde_json::Value;
use spout_codec::{Coerce, Unknown, UnknownField};
use spout_data::{Messages, Origins};
use spout_plugin::RowFault;

use super::{
    RegistryError, RegistrySpec, avro,
    frame::{Frame, SchemaId},
    json, protobuf,
    schemas::{Format, Registration},
    shelf::{Shelf, Verdict},
};
use crate::{
    Error, UnknownFields,
    decode::{
        Native, Piece, Rows, fault,
        native::{JsonSpec, Opening, avro as records, protobuf as messages_of},
    },
};

/// Most schemas with a decoder at a time.
const MOST: usize = 256;

/// What messages are decoded by: their schema, and which message of its file they are.
type Key = (SchemaId, Vec<u32>);

/// Messages by what decodes them, and faults of those that name nothing.
type Groups = (Vec<(Key, Group)>, Vec<RowFault>);

/// What decodes a message, and its bytes; or the code of what is wrong, and why.
type Keyed<'a> = Result<(Key, &'a [u8]), (&'static str, String)>;

/// A running `registry` decoder.
#[derive(Debug)]
pub(super) struct Registered {
    shelf: Option<Arc<Shelf>>,
    unknown: UnknownFields,
    schema: Option<SchemaRef>,
    opened: BTreeMap<Key, Opened>,
    pieces: Vec<Piece>,
}

/// What messages of one key are decoded with.
#[derive(Debug)]
struct Opened {
    decoder: Result<Box<dyn Native>, String>,
    /// The columns of its schema.
    columns: Option<SchemaRef>,
}

/// Messages of one key.
#[derive(Debug, Default)]
struct Group {
    messages: Messages,
    /// Which message of all each of them is.
    index: Vec<u32>,
}

/// What came of all groups.
#[derive(Debug, Default)]
struct Found {
    batches: Vec<RecordBatch>,
    origins: Vec<u32>,
    faults: Vec<RowFault>,
    unknown: BTreeMap<String, u64>,
}

impl Registered {
    pub(super) fn new(spec: &RegistrySpec, opening: &Opening<'_>) -> Self {
        Self {
            shelf: opening.schemas.cloned(),
            unknown: spec.unknown,
            schema: opening.schema.clone(),
            opened: BTreeMap::new(),
            pieces: Vec::new(),
        }
    }

    /// The messages by what decodes them, in the order in which each is first met, and those that name no schema.
    fn groups(&self, messages: &Messages) -> Result<Groups, Error> {
        let (mut places, mut groups, mut faults) = (BTreeMap::new(), Vec::<(Key, Group)>::new(), Vec::new());
        let mut nulls = messages.nulls.iter().copied().peekable();
        for index in 0..messages.len() {
            let message = u32::try_from(index).unwrap_or(u32::MAX);
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            let (key, body) = match self.key(messages, index)? {
                Ok(found) => found,
                Err((code, why)) => {
                    faults.push(fault(message, code, &why));
                    continue;
                }
            };
            let place = *places.entry(key.clone()).or_insert_with(|| {
                groups.push((key, Group::default()));
                groups.len() - 1
            });
            if let Some((_, group)) = groups.get_mut(place) {
                group.messages.values.push(body);
                group.messages.timestamps_ms.extend(messages.timestamps_ms.get(index));
                group.index.push(message);
            }
        }
        Ok((groups, faults))
    }

    /// What decodes the message at `index`, and its bytes without what names the schema.
    fn key<'a>(&self, messages: &'a Messages, index: usize) -> Result<Keyed<'a>, Error> {
        let frame = match Frame::of(messages, index) {
            Ok(frame) => frame,
            Err(why) => return Ok(Err(("registry.frame", why))),
        };
        let verdict = self.shelf.as_ref().and_then(|shelf| shelf.get(frame.id));
        Ok(match verdict {
            // Nobody has asked, or it was forgotten: that is no verdict.
            None => return Err(RegistryError::Forgotten { id: frame.id.to_string() }.into()),
            Some(Verdict::Missing(_)) => Err(("registry.unknown", format!("the registry has no schema {}", frame.id))),
            Some(Verdict::Useless(why)) => Err(("registry.schema", format!("schema {}: {why}", frame.id))),
            Some(Verdict::Found(schema)) if schema.format == Format::Protobuf => match frame.indexes() {
                Ok((indexes, body)) => Ok(((frame.id, indexes), body)),
                Err(why) => Err(("registry.frame", why)),
            },
            Some(Verdict::Found(_)) => Ok(((frame.id, Vec::new()), frame.body)),
        })
    }

    /// Opens what decodes messages of `key`.
    fn opened(&mut self, key: &Key) -> Opened {
        let schema = self.shelf.as_ref().and_then(|shelf| shelf.get(key.0));
        let Some(Verdict::Found(schema)) = schema else {
            return Opened { decoder: Err("it was forgotten".into()), columns: None };
        };
        let reader = self.shelf.as_ref().and_then(|shelf| shelf.reader()).filter(|_| schema.format == Format::Avro);
        // What a registry made up may trip over an assertion in a library.
        let columns = panic::catch_unwind(|| match &reader {
            Some(reader) => records::columns_of(reader).map(Some),
            None => columns_of(&schema, &key.1),
        });
        match columns.unwrap_or_else(|_| Err("it cannot be read".into())) {
            Err(why) => Opened { decoder: Err(why), columns: None },
            Ok(columns) => {
                if self.schema.is_none() {
                    // All rows have these columns, whatever becomes of this message.
                    self.schema = columns.clone();
                }
                let rows = (self.schema.as_ref(), self.unknown);
                let decoder = || decoder(&schema, &key.1, reader.as_deref(), rows);
                let decoder = panic::catch_unwind(panic::AssertUnwindSafe(decoder));
                Opened { decoder: decoder.unwrap_or_else(|_| Err("it cannot be read".into())), columns }
            }
        }
    }

    /// The rows of one group.
    fn group(&mut self, key: &Key, group: &Group) -> Result<Rows, Error> {
        if self.opened.len() > MOST {
            self.opened.clear();
        }
        if !self.opened.contains_key(key) {
            let opened = self.opened(key);
            self.opened.insert(key.clone(), opened);
        }
        match self.opened.get_mut(key).map(|opened| &mut opened.decoder) {
            Some(Ok(decoder)) => {
                let rows = decoder.decode(&group.messages)?;
                let moved = |piece: Piece| Piece {
                    fault: RowFault { message: group.whole(piece.fault.message), ..piece.fault },
                    ..piece
                };
                self.pieces.extend(decoder.pieces().into_iter().map(moved));
                Ok(rows)
            }
            Some(Err(why)) => {
                let all = 0..u32::try_from(group.index.len()).unwrap_or(u32::MAX);
                let broken = |message| fault(message, "registry.schema", &format!("schema {}: {why}", key.0));
                Ok(Rows { faults: all.map(broken).collect(), ..Rows::none() })
            }
            None => Err(RegistryError::Forgotten { id: key.0.to_string() }.into()),
        }
    }

    /// The columns of a schema that rows do not have.
    fn beyond(&self, key: &Key) -> Vec<Arc<Field>> {
        let columns = self.opened.get(key).and_then(|opened| opened.columns.as_ref());
        let (Some(columns), Some(own)) = (columns, &self.schema) else { return Vec::new() };
        columns.fields().iter().filter(|field| own.field_with_name(field.name()).is_err()).cloned().collect()
    }
}

impl Native for Registered {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let (groups, faults) = self.groups(messages)?;
        let mut found = Found { faults, ..Found::default() };
        for (key, group) in groups {
            let rows = self.group(&key, &group)?;
            // Where no schema says the columns, messages do.
            if self.schema.is_none() && !rows.records.schema_ref().fields().is_empty() {
                self.schema = Some(rows.records.schema());
            }
            let beyond = self.beyond(&key);
            found.add(&group, rows, &beyond);
        }
        let Some(schema) = &self.schema else {
            found.faults.sort_by_key(|fault| fault.message);
            return Ok(Rows { faults: found.faults, ..Rows::none() });
        };
        found.rows(schema)
    }

    fn added(&mut self, messages: &Messages, _unknown: &[UnknownField]) -> Result<SchemaRef, Error> {
        let (groups, _) = self.groups(messages)?;
        let mut added = Schema::empty();
        for (key, _) in groups {
            let fields = added
                .fields()
                .iter()
                .cloned()
                .chain(self.beyond(&key).into_iter().filter(|field| added.field_with_name(field.name()).is_err()));
            added = Schema::new(fields.collect::<Vec<_>>());
        }
        Ok(Arc::new(added))
    }

    fn pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }
}

impl Group {
    /// A message of the group as one of all.
    fn whole(&self, message: u32) -> u32 {
        self.index.get(message as usize).copied().unwrap_or(u32::MAX)
    }
}

impl Found {
    fn add(&mut self, group: &Group, rows: Rows, beyond: &[Arc<Field>]) {
        let Rows { records, origins, faults, unknown, .. } = rows;
        let count = records.num_rows() as u64;
        if records.num_rows() > 0 {
            match origins {
                Origins::Each | Origins::Unknown => self.origins.extend(&group.index),
                Origins::Taken(list) => self.origins.extend(list.iter().map(|&message| group.whole(message))),
            }
            self.batches.push(records);
        }
        let whole = |fault: RowFault| RowFault { message: group.whole(fault.message), ..fault };
        self.faults.extend(faults.into_iter().map(whole));
        for UnknownField { name, count } in &unknown {
            *self.unknown.entry(name.clone()).or_default() += count;
        }
        for field in beyond.iter().filter(|field| unknown.iter().all(|known| known.name != **field.name())) {
            *self.unknown.entry(field.name().clone()).or_default() += count;
        }
    }

    fn rows(mut self, schema: &SchemaRef) -> Result<Rows, Error> {
        let rows = self.origins.len();
        let kernel = |source| Error::Kernel { decoder: "registry".into(), rows, source };
        let mut records = match (self.batches.pop(), self.batches.is_empty()) {
            (None, _) => RecordBatch::new_empty(Arc::clone(schema)),
            (Some(only), true) => only,
            (Some(last), false) => {
                self.batches.push(last);
                concat_batches(schema, &self.batches).map_err(kernel)?
            }
        };
        if !self.origins.is_sorted() {
            let mut order: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
            order.sort_by_key(|&row| self.origins.get(row as usize));
            records = take_record_batch(&records, &UInt32Array::from(order)).map_err(kernel)?;
            self.origins.sort_unstable();
        }
        self.faults.sort_by_key(|fault| fault.message);
        let unknown = self.unknown.into_iter().map(|(name, count)| UnknownField { name, count }).collect();
        Ok(Rows { records, origins: Origins::Taken(self.origins.into()), faults: self.faults, unknown, open: None })
    }
}

/// The columns of a schema; `record` names the message that is meant, if it is of Protobuf.
pub(super) fn columns(schema: &Registration, record: Option<&str>) -> Result<Option<SchemaRef>, String> {
    match schema.format {
        Format::Protobuf => messages_of::columns_of(&protobuf::named(&protobuf::file(schema)?, record)?).map(Some),
        _ => columns_of(schema, &[]),
    }
}

/// The columns of the message that `indexes` lead to.
fn columns_of(schema: &Registration, indexes: &[u32]) -> Result<Option<SchemaRef>, String> {
    match schema.format {
        Format::Avro => records::columns_of(&avro::writer(schema)?).map(Some),
        Format::Protobuf => messages_of::columns_of(&protobuf::message(&protobuf::file(schema)?, indexes)?).map(Some),
        Format::Json => Ok(json::columns(schema).map(|fields| Arc::new(Schema::new(fields)))),
    }
}

/// What decodes messages of a schema, read with `reader` if there is one, to rows of `columns`.
fn decoder(
    schema: &Registration,
    indexes: &[u32],
    reader: Option<&Value>,
    (columns, unknown): (Option<&SchemaRef>, UnknownFields),
) -> Result<Box<dyn Native>, String> {
    match schema.format {
        Format::Avro => records::single(&avro::writer(schema)?, reader, columns.cloned(), unknown),
        Format::Protobuf => {
            let message = protobuf::message(&protobuf::file(schema)?, indexes)?;
            messages_of::decoder(message, columns.cloned(), unknown, Coerce::default())
        }
        Format::Json => {
            let unknown = match unknown {
                UnknownFields::Ignore => Unknown::Drop,
                UnknownFields::Fail => Unknown::Fail,
            };
            let spec = JsonSpec { unknown, ..JsonSpec::default() };
            super::super::DecoderKind::open(&spec, &Opening { schema: columns.cloned(), ..Opening::default() })
        }
    }
}
