//! What a client says: packets of MQTT 3.1.1 and 5.

use std::collections::BTreeSet;

use crate::packet::Version;

/// Most bytes of a packet, or of what is in one, whose length has four bytes of seven bits.
const LONGEST: usize = (1 << 28) - 1;

/// Who says hello, and how.
#[derive(Clone, Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: Option<&'a str>,
    /// Bytes of the password, which the host writes behind the packet.
    pub(crate) password: Option<usize>,
    pub(crate) keep_alive: u16,
    /// How many messages may be on their way to us; MQTT 3.1.1 has no word for it.
    pub(crate) inflight: u16,
    /// How long the session lives without a connection, in seconds; all bits set is for ever.
    pub(crate) expiry: u32,
    /// Whether to forget the session.
    pub(crate) clean: bool,
}

impl Hello<'_> {
    /// The packet without the password at its end; `None` if a text is too long for it.
    pub(crate) fn packet(&self, version: Version) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        put_text(&mut body, "MQTT")?;
        body.push(if version == Version::V5 { 5 } else { 4 });
        let flags = [(self.username.is_some(), 0x80), (self.password.is_some(), 0x40), (self.clean, 0x02)];
        body.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        body.extend(self.keep_alive.to_be_bytes());
        if version == Version::V5 {
            let mut properties = vec![0x11];
            properties.extend(self.expiry.to_be_bytes());
            properties.push(0x21);
            properties.extend(self.inflight.max(1).to_be_bytes());
            put_length(&mut body, properties.len())?;
            body.extend(properties);
        }
        put_text(&mut body, self.client_id)?;
        if let Some(username) = self.username {
            put_text(&mut body, username)?;
        }
        let password = self.password.unwrap_or(0);
        if self.password.is_some() {
            body.extend(u16::try_from(password).ok()?.to_be_bytes());
        }
        framed(0x10, &body, password)
    }
}

/// Asks for messages of these topics with this quality of service; retained ones only if they are wanted, and then only where the
/// subscription is new (MQTT 3.1.1 has no word for that).
pub(crate) fn subscribe(
    id: u16,
    filters: &BTreeSet<String>,
    qos: u8,
    retained: bool,
    version: Version,
) -> Option<Vec<u8>> {
    let mut body = id.to_be_bytes().to_vec();
    let handling = if retained { 0x10 } else { 0x20 };
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter)?;
        body.push(if version == Version::V5 { qos | handling } else { qos });
    }
    framed(0x82, &body, 0)
}

/// Asks for no more messages of these topics.
pub(crate) fn unsubscribe<'a>(id: u16, filters: impl Iterator<Item = &'a String>, version: Version) -> Option<Vec<u8>> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter)?;
    }
    framed(0xa2, &body, 0)
}

/// Says that a message is taken: for good with quality 1, up to its release with quality 2.
pub(crate) fn take(qos: u8, id: u16, into: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    into.extend([if qos == 2 { 0x50 } else { 0x40 }, 2, high, low]);
}

/// Says that a release was heard.
pub(crate) fn complete(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x70, 2, high, low]
}

pub(crate) const PING: [u8; 2] = [0xc0, 0];

/// Ends the connection, and with MQTT 5 the session too.
pub(crate) fn farewell(version: Version) -> &'static [u8] {
    if version == Version::V5 { &[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0] } else { &[0xe0, 0] }
}

fn framed(kind: u8, body: &[u8], behind: usize) -> Option<Vec<u8>> {
    let mut packet = vec![kind];
    put_length(&mut packet, body.len() + behind)?;
    packet.extend(body);
    Some(packet)
}

fn put_length(into: &mut Vec<u8>, mut length: usize) -> Option<()> {
    if length > LONGEST {
        return None;
    }
    while length > 127 {
        into.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    into.push(length as u8);
    Some(())
}

fn put_text(into: &mut Vec<u8>, text: &str) -> Option<()> {
    into.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    into.extend(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_both_versions() {
        let mut hello = Hello {
            client_id: "me",
            username: Some("u"),
            password: Some(3),
            keep_alive: 60,
            inflight: 100,
            expiry: 9,
            clean: false,
        };
        let old = hello.packet(Version::V3).unwrap();
        assert_eq!(old, b"\x10\x16\0\x04MQTT\x04\xc0\0\x3c\0\x02me\0\x01u\0\x03");
        let new = hello.packet(Version::V5).unwrap();
        assert_eq!(new, b"\x10\x1f\0\x04MQTT\x05\xc0\0\x3c\x08\x11\0\0\0\x09\x21\0\x64\0\x02me\0\x01u\0\x03");
        (hello.username, hello.password, hello.clean) = (None, None, true);
        assert_eq!(hello.packet(Version::V3).unwrap(), b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02me");
        let long = "x".repeat(70_000);
        assert_eq!(Hello { client_id: &long, ..hello }.packet(Version::V5), None);
        let filters = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(subscribe(1, &filters, 1, true, Version::V3).unwrap(), b"\x82\x0a\0\x01\0\x01a\x01\0\x01b\x01");
        assert_eq!(subscribe(1, &filters, 2, true, Version::V5).unwrap(), b"\x82\x0b\0\x01\0\0\x01a\x12\0\x01b\x12");
        assert_eq!(unsubscribe(2, filters.iter(), Version::V5).unwrap(), b"\xa2\x09\0\x02\0\0\x01a\0\x01b");
        let mut taken = Vec::new();
        take(1, 258, &mut taken);
        take(2, 7, &mut taken);
        assert_eq!(taken, b"\x40\x02\x01\x02\x50\x02\0\x07");
        let mut length = Vec::new();
        put_length(&mut length, 200).unwrap();
        assert_eq!(length, [0xc8, 1]);
    }
}
