//! Byte counts and durations as people write them: `64MiB`, `5s`.

use std::{fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number of bytes, written `65536`, `64KiB`, `10MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(
    with = "String",
    description = "A number of bytes: 65536, 64KiB, 10MB",
    extend("type" = ["string", "integer"], "format" = "byte-size", "minimum" = 0)
)]
pub struct ByteSize(pub u64);

/// A length of time, written `250ms`, `5s`, `10m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", description = "A length of time: 250ms, 5s, 10m, 1h, 7d", extend("format" = "period"))]
pub struct Period(pub Duration);

const SIZES: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];
const TIMES: [(&str, f64); 6] = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let (number, unit) = SIZES
            .iter()
            .find_map(|&(suffix, unit)| lower.strip_suffix(suffix).map(|number| (number, unit)))
            .unwrap_or((lower.as_str(), 1));
        let wrong = || format!("`{text}` is not a number of bytes; write it like 65536, 64KiB or 10MB");
        let number = number.trim();
        match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(unit).map(Self).ok_or_else(wrong),
            Err(_) => match number.parse::<f64>() {
                Ok(part) if part.is_finite() && part >= 0.0 => Ok(Self((part * unit as f64) as u64)),
                _ => Err(wrong()),
            },
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let wrong = || format!("`{text}` is not a length of time; write it like 250ms, 5s, 10m or 1h");
        let (number, unit) = TIMES
            .iter()
            .find_map(|&(suffix, unit)| lower.strip_suffix(suffix).map(|number| (number, unit)))
            .ok_or_else(wrong)?;
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(number * unit).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES[..4].iter().rev().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match whole {
            Some((suffix, unit)) => {
                let prefix = suffix[..1].to_ascii_uppercase();
                write!(f, "{}{prefix}iB", self.0 / unit)
            }
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms.is_multiple_of(1000) => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

/// Numbers are accepted where a unit can be left out: plain bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Written::deserialize(from)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Written::deserialize(from)? {
            Written::Number(number) => {
                Err(D::Error::custom(format!("`{number}` has no unit; write it like {number}s")))
            }
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<ByteSize>().ok(), expected.map(ByteSize), "{text}")
        };
        check("64MiB", Some(64 << 20));
        check("10 mb", Some(10_000_000));
        check("512", Some(512));
        check("1.5KiB", Some(1536));
        check("-1", None);
        check("lots", None);
        check("99999999999TiB", None);
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
    }

    #[test]
    fn times_need_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<Period>().ok(), expected.map(|ms| Period(Duration::from_millis(ms))), "{text}");
        };
        check("250ms", Some(250));
        check("5s", Some(5000));
        check("1h", Some(3_600_000));
        check("5", None);
        check("-5s", None);
    }
}
