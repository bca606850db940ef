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

    /// The columns of every answer, if they do not depend on the messages. They show in `spout check -v`, and handlers that
    /// name other columns are found before anything runs; the host refuses answers with other columns.
    fn output(&self) -> Option<Schema> {
        None
    }

    /// Decodes `messages`. A bad message is a fault and does not affect its neighbours; the answer does not depend on
    /// how messages were cut into calls.
    ///
    /// # Errors
    /// Only for what has nothing to do with a single message.
    fn decode(&mut self, messages: &Messages) -> Result<Decoded>;
}

#[doc(hidden)]
pub mod shim {
    //! Adapts the WIT interface to the trait.

    use std::{cell::RefCell, marker::PhantomData};

    use super::{Decoded, Decoder, Opening};
    use crate::{
        Messages, Schema, boundary, parse_settings,
        register::{self, Offers, named},
        schema_text,
        wit::{
            base::{exports::spout::plugin::about::Offer, spout::plugin::types as wit},
            decoder::exports::spout::plugin::decoder as export,
        },
    };

    /// Any decoder.
    pub trait Decode {
        fn output(&self) -> Option<Schema>;
        fn decode(&mut self, messages: &Messages) -> crate::Result<Decoded>;
    }

    impl<D: Decoder> Decode for D {
        fn output(&self) -> Option<Schema> {
            Decoder::output(self)
        }

        fn decode(&mut self, messages: &Messages) -> crate::Result<Decoded> {
            Decoder::decode(self, messages)
        }
    }

    pub type Open = fn(&wit::Settings, Opening) -> crate::Result<Box<dyn Decode>>;

    #[must_use]
    pub const fn open<D: Decoder>() -> Open {
        |list, opening| Ok(Box::new(D::open(parse_settings(texts(list))?, opening)?))
    }

    #[must_use]
    pub fn offer<D: Decoder>(name: &str, summary: &str) -> Offer {
        register::offer::<D::Settings>("decoder", name, summary)
    }

    pub(crate) fn texts(list: &wit::Settings) -> impl Iterator<Item = (&str, &str)> {
        list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    #[derive(Debug)]
    pub struct Shim<P>(PhantomData<P>);

    pub struct Decoding<P> {
        decoder: RefCell<Box<dyn Decode>>,
        told: RefCell<Option<Schema>>,
        plugin: PhantomData<P>,
    }

    impl<P> std::fmt::Debug for Decoding<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Decoding")
        }
    }

    impl<P: Offers<Open>> export::Guest for Shim<P> {
        type Decoding = Decoding<P>;
    }

    impl<P: Offers<Open>> export::GuestDecoding for Decoding<P> {
        fn open(
            name: String,
            topic: String,
            fields: Option<Vec<String>>,
            schema: Option<String>,
            list: wit::Settings,
        ) -> Result<export::Decoding, wit::Error> {
            let schema = schema.as_deref().map(schema_text::parse).transpose().map_err(crate::Error::from)?;
            let decoder = named(P::OFFERS, &name)?(&list, Opening { topic, fields, schema })?;
            Ok(export::Decoding::new(Self {
                decoder: RefCell::new(decoder),
                told: RefCell::new(None),
                plugin: PhantomData,
            }))
        }

        fn output(&self) -> Result<Option<wit::Schema>, wit::Error> {
            Ok(self.decoder.borrow().output().map(|schema| boundary::schema::lower(&schema)))
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
