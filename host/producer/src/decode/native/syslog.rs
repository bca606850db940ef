//! `syslog`: RFC 5424 and RFC 3164, by the decoder of the core.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use spout_codec::syslog::{self, Syslog};

use super::{DecoderKind, Opening};
use crate::{
    SchemaText,
    decode::{Native, core::Core},
};

/// Settings of the native `syslog` decoder.
pub(super) type SyslogSpec = syslog::Settings<SchemaText>;

impl DecoderKind for SyslogSpec {
    fn declared(&self) -> Option<&SchemaText> {
        self.schema.as_ref()
    }

    fn usual(&self) -> Option<SchemaRef> {
        Some(Arc::new((&syslog::columns(self.structured_data)).into()))
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Core::open("syslog", opening.schema.as_ref(), |schema| Syslog::new(self, schema))
    }
}
