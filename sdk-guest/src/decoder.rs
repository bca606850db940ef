//! Messages into rows.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Batch, Messages, Result};

/// A message that has no row, and why. The host sets it aside with its raw bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Index of the message.
    pub message: u32,
    /// Stable and dotted, such as `json.syntax`.
    pub code: String,
    /// What was wrong.
    pub reason: String,
}

/// What a decoder made of messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The rows.
    pub batch: Batch,
    /// The message each row came from; empty where row i is the i-th message without a fault.
    pub origins: Vec<u32>,
    /// Messages without a row, rising.
    pub faults: Vec<RowFault>,
}

/// Messages into rows.
///
/// The host keeps all partitions of a branch to one schema: it passes the setting `schema` where one is settled (see
/// [`schema_text`](crate::schema_text)), unless the user gave one.
pub trait Decoder: Sized + 'static {
    /// What the spec's `settings` say.
    type Settings: DeserializeOwned + JsonSchema;

    /// Opens a decoder for the messages of `topic`; `fields` are the columns wanted, or `None` for all.
    ///
    /// # Errors
    /// Wrong settings.
    fn open(topic: &str, fields: Option<Vec<String>>, settings: Self::Settings) -> Result<Self>;

    /// Decodes `messages`. A bad message is a fault and takes no neighbour down; the answer does not depend on how
    /// messages were cut into calls.
    ///
    /// # Errors
    /// Only what has nothing to do with a single message.
    fn decode(&mut self, messages: &Messages) -> Result<Decoded>;
}

#[doc(hidden)]
pub(crate) mod shim {
    //! Between the interface and the trait.

    use std::{cell::RefCell, marker::PhantomData};

    use super::Decoder;
    use crate::{
        Schema, parse_settings,
        wit::{base::spout::plugin::types as wit, decoder::exports::spout::plugin::decoder as export},
    };

    #[derive(Debug)]
    pub struct DecoderShim<D>(PhantomData<D>);
    #[derive(Debug)]
    pub struct DecodingShim<D> {
        decoder: RefCell<D>,
        told: RefCell<Option<Schema>>,
    }

    impl<D: Decoder> export::Guest for DecoderShim<D> {
        type Decoding = DecodingShim<D>;
    }

    impl<D: Decoder> export::GuestDecoding for DecodingShim<D> {
        fn open(
            _name: String,
            topic: String,
            fields: Option<Vec<String>>,
            list: wit::Settings,
        ) -> Result<export::Decoding, wit::Error> {
            let settings = parse_settings(list.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
            let decoder = RefCell::new(D::open(&topic, fields, settings)?);
            Ok(export::Decoding::new(Self { decoder, told: RefCell::new(None) }))
        }

        fn decode(&self, input: wit::Messages) -> Result<export::Decoded, wit::Error> {
            let decoded = self.decoder.borrow_mut().decode(&input.into())?;
            let (schema, batch) = decoded.batch.into_wit();
            let mut told = self.told.borrow_mut();
            let news = told.as_ref() != Some(&schema);
            let fields = news.then(|| schema.to_wit());
            *told = Some(schema);
            let fault = |fault: super::RowFault| export::RowFault {
                message: fault.message,
                code: fault.code,
                reason: fault.reason,
            };
            Ok(export::Decoded {
                schema: fields,
                batch,
                origins: decoded.origins,
                faults: decoded.faults.into_iter().map(fault).collect(),
            })
        }
    }
}
