//! What is said of a message besides its body, as key, time and headers.

use spout_guest::Added;

use crate::{frame::Message, method::STREAM_OFFSET};

impl Message {
    /// Adds what the message has to `added`, which is its body.
    pub(crate) fn describe(&self, mut added: Added<'_>, routing_key_as_key: bool) {
        let (delivery, properties) = (&self.delivery, &self.properties);
        if routing_key_as_key {
            added = added.key(delivery.routing_key.as_bytes());
        }
        if let Some(seconds) = properties.timestamp {
            added = added.timestamp_ms(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
        }
        added = added.header("exchange", delivery.exchange.as_bytes());
        added = added.header("routing-key", delivery.routing_key.as_bytes());
        if delivery.again {
            added = added.header("redelivered", b"true");
        }
        for (name, value) in [
            ("content-type", &properties.content_type),
            ("content-encoding", &properties.content_encoding),
            ("correlation-id", &properties.correlation_id),
            ("reply-to", &properties.reply_to),
            ("type", &properties.kind),
            ("user-id", &properties.user_id),
            ("app-id", &properties.app_id),
        ] {
            if let Some(value) = value {
                added = added.header(name, value.as_bytes());
            }
        }
        for (name, value) in &properties.headers {
            if name != STREAM_OFFSET {
                added = added.header(name, value);
            }
        }
    }

    /// Where a message of a stream is.
    pub(crate) fn offset(&self) -> Option<u64> {
        let header = self.properties.headers.iter().find(|(name, _)| name == STREAM_OFFSET);
        header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok())
    }
}
