//! Places in the write-ahead log.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A place in the write-ahead log, in bytes from its start. PostgreSQL writes it as `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let half = |part: &str| u64::from_str_radix(part, 16).ok().filter(|_| digits(part));
        let parts = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        parts.map(|(high, low)| Self(high << 32 | low)).ok_or_else(|| format!("`{text}` is no LSN, like 16/B374D848"))
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    #[test]
    fn it_reads_what_it_writes() {
        for lsn in [0, 1, 0x16_B374_D848, u64::MAX].map(Lsn) {
            assert_eq!(lsn.to_string().parse(), Ok(lsn));
        }
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x16_B374_D848)));
        for wrong in ["", "/", "1", "1/", "+1/1", "1/123456789", "g/1"] {
            assert!(wrong.parse::<Lsn>().is_err(), "{wrong}");
        }
    }
}
