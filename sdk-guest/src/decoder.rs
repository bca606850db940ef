//! Messages into rows.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use spout_codec::{Decoded, RowFault};

use crate::{Messages, Result, Schema};

/// What a decoder is opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Where the messages come from.
    pub topic: String,
    /// The columns wanted, or `None` for all. A value that does not fit an unwanted column is still a fault: the
    /// verdict depends on the message alone.
    pub fields: Option<Vec<String>>,
    /// The table's schema, once settled: rows have exactly these columns.
    pub schema: Option<Schema>,
}

/// Messages into rows.
///
/// All partitions of a branch share one schema: [`Opening::schema`], once settled.
pub trait Decoder: Sized + 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;

    /// Opens a decoder.
    ///
    /// # Errors
    /// The settings are wrong.
    fn open(settings: Self::Settings, opening: Opening) -> Result<Self>;

    /// Decodes `messages`. A bad message is a fault and does not affect its neighbours; the answer does not depend on
    /// how messages were cut into calls.
    ///
    /// # Errors
    /// Only for what has nothing to do with a single message.
    fn decode(&mut self, messages: &Messages) -> Result<Decoded>;
}

#[doc(hidden)]
pub(crate) mod shim {
    //! Adapts the WIT interface to the trait.

    use std::{cell::RefCell, marker::PhantomData};

    use super::{Decoder, Opening};
    use crate::{
        Schema, boundary, parse_settings, schema_text,
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
            schema: Option<String>,
            list: wit::Settings,
        ) -> Result<export::Decoding, wit::Error> {
            let settings = parse_settings(list.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
            let schema = schema.as_deref().map(schema_text::parse).transpose().map_err(crate::Error::from)?;
            let decoder = RefCell::new(D::open(settings, Opening { topic, fields, schema })?);
            Ok(export::Decoding::new(Self { decoder, told: RefCell::new(None) }))
        }

        fn decode(&self, input: wit::Messages) -> Result<export::Decoded, wit::Error> {
            let decoded = self.decoder.borrow_mut().decode(&input.into())?;
            let (schema, batch) = boundary::parts::lower(decoded.batch);
            let mut told = self.told.borrow_mut();
            let changed = told.as_ref() != Some(&schema);
            let fields = changed.then(|| boundary::schema::lower(&schema));
            *told = Some(schema);
            let fault = |fault: super::RowFault| export::RowFault {
                message: fault.message,
                code: fault.code.into_owned(),
                reason: fault.reason,
            };
            let unknown = |field: crate::UnknownField| export::UnknownField { name: field.name, count: field.count };
            Ok(export::Decoded {
                schema: fields,
                batch,
                origins: decoded.origins,
                faults: decoded.faults.into_iter().map(fault).collect(),
                unknown: decoded.unknown.into_iter().map(unknown).collect(),
            })
        }
    }
}
