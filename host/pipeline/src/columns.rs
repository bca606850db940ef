//! The columns of what enters the chain: those that each decoder keeps to, and where there are several producers, of all.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Field, SchemaRef};

use spout_data::Part;
use spout_node::States;
use spout_producer::{DecoderFactory, SchemaPin, SchemaText, Union};

use super::{Error, input::Input};

/// The columns of what enters the chain.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    decoders: Vec<DecoderFactory>,
    /// Where each is stored.
    pins: Vec<(String, SchemaPin)>,
    union: Option<Union>,
    /// Where those of producers are stored that the spec no longer has: they may come back.
    gone: Vec<String>,
    /// Columns that a decoder has beyond those of earlier commits, by its name.
    added: Vec<(String, SchemaRef)>,
}

impl Columns {
    /// The columns of `inputs` at the start of a run of `pipeline`; those that commits had are taken out of `states`.
    ///
    /// # Errors
    /// A stored schema that cannot be read, and a decoder that declares other columns.
    pub(super) async fn restore(pipeline: &str, inputs: &[Input], states: &mut States) -> Result<Self, Error> {
        let mut pins = Vec::new();
        let mut pin = |key: String| {
            let schema = states.remove(&key).map(|text| SchemaText::stored(&text).map(Arc::new)).transpose();
            let pin = SchemaPin::new(schema.map_err(|reason| Error::Spec { pipeline: pipeline.to_owned(), reason })?);
            pins.push((key, pin.clone()));
            Ok::<_, Error>(pin)
        };
        let (mut decoders, mut added) = (Vec::with_capacity(inputs.len()), Vec::new());
        for input in inputs {
            let decoder = input.decoders(pin(key(&input.name))?);
            let refused = |source| Error::Producer { pipeline: pipeline.to_owned(), source: Box::new(source) };
            let more = decoder.add_declared().await.map_err(refused)?;
            added.extend(more.map(|more| (decoder.name().to_owned(), more)));
            decoders.push(decoder);
        }
        let several = inputs.iter().any(|input| !input.name.is_empty());
        let union = if several {
            let members = inputs.iter().map(|input| input.name.clone()).zip(decoders.iter().cloned());
            Some(Union::new(members.collect(), pin(SchemaText::PART.to_owned())?).await)
        } else {
            None
        };
        let gone: Vec<String> = states.keys().filter(|key| key.starts_with("decoder/")).cloned().collect();
        gone.iter().for_each(|key| drop(states.remove(key)));
        Ok(Self { decoders, pins, union, gone, added })
    }

    /// Names that the columns of `inputs` are stored under.
    pub(super) fn keys(inputs: &[Input]) -> Vec<String> {
        let several = inputs.iter().any(|input| !input.name.is_empty()).then(|| SchemaText::PART.to_owned());
        inputs.iter().map(|input| key(&input.name)).chain(several).collect()
    }

    /// The columns of `inputs` if nothing was ever committed.
    ///
    /// # Errors
    /// None: nothing stored is read.
    pub(super) async fn initial(inputs: &[Input]) -> Self {
        let restored = Self::restore("", inputs, &mut States::new()).await;
        let (decoders, pins, gone, added) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        restored.unwrap_or(Self { decoders, pins, union: None, gone, added })
    }

    /// The decoders of a producer.
    pub(super) fn decoders(&self, index: usize) -> Option<&DecoderFactory> {
        self.decoders.get(index)
    }

    /// What the rows of all producers go through, where there are several.
    pub(super) fn union(&self) -> Option<&Union> {
        self.union.as_ref()
    }

    /// The columns of what enters the chain, as far as they are known.
    ///
    /// # Errors
    /// Producers whose columns do not go together.
    pub(super) async fn schema(&self) -> Result<Option<SchemaRef>, spout_producer::Error> {
        match (&self.union, self.decoders.as_slice()) {
            (Some(union), _) => union.schema().await,
            (None, [decoder, ..]) => Ok(decoder.schema().await),
            (None, []) => Ok(None),
        }
    }

    /// Columns that decoders have beyond those of earlier commits, by their names.
    pub(super) fn added(&self) -> &[(String, SchemaRef)] {
        &self.added
    }

    /// What commits store of them. A schema with a type that has no word is not stored: its decoder settles it by itself each
    /// time.
    pub(super) async fn snapshot(&self) -> BTreeMap<String, Part> {
        let mut parts: BTreeMap<String, Part> = self.gone.iter().map(|key| (key.clone(), Part::Kept)).collect();
        parts.extend(self.stored().await.into_iter().map(|(key, text)| (key, Part::from(text.into_bytes()))));
        parts
    }

    /// The columns that are settled, as they are stored, by key.
    pub(super) async fn stored(&self) -> BTreeMap<String, String> {
        let mut stored = BTreeMap::new();
        for (key, pin) in &self.pins {
            if let Some(text) = pin.get().await.and_then(|schema| SchemaText::print(&schema).ok()) {
                stored.insert(key.clone(), text.to_string());
            }
        }
        stored
    }

    /// Settles what other processes have settled, as it is stored.
    pub(super) async fn settle(&self, stored: &BTreeMap<String, String>) {
        for (key, pin) in &self.pins {
            if let Some(Ok(schema)) = stored.get(key).map(|text| SchemaText::stored(text.as_bytes())) {
                pin.settle(&Arc::new(schema)).await;
            }
        }
    }

    /// Whether the only decoder has the columns that it had in earlier commits, or had none.
    pub(super) async fn unchanged(&self) -> bool {
        let ([decoder], [(_, pin)]) = (self.decoders.as_slice(), self.pins.as_slice()) else { return false };
        if !self.added.is_empty() {
            return false;
        }
        let (Some(pinned), Some(decoded)) = (pin.get().await, decoder.schema().await) else { return true };
        let kept = pinned.fields().iter().all(|before| decoded.fields().iter().any(|now| same(before, now)));
        kept && decoded.fields().len() == pinned.fields().len() + decoder.metadata.len()
    }
}

/// Where the columns of the producer `name` are stored.
fn key(name: &str) -> String {
    if name.is_empty() { SchemaText::PART.to_owned() } else { format!("decoder/{name}/schema") }
}

fn same(before: &Field, now: &Field) -> bool {
    before.name() == now.name() && before.data_type() == now.data_type()
}
