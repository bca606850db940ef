//! Settings, a flat list of texts, as a typed struct: numbers and booleans are parsed from text, lists and maps from JSON.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, IntoDeserializer, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};

use crate::{Error, Result};

/// The settings of a part that has none; it refuses any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Parses settings as the host passes them into `S`.
///
/// # Errors
/// An unknown key (if `S` denies them), a missing one, or a value that does not fit; the message names it.
pub fn parse<'a, S: DeserializeOwned>(list: impl Iterator<Item = (&'a str, &'a str)>) -> Result<S> {
    let entries = list.map(|(name, text)| (name, Text { name, text }));
    S::deserialize(MapDeserializer::new(entries)).map_err(|Wrong(what)| Error::invalid_config(what))
}

#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

struct Text<'a> {
    name: &'a str,
    text: &'a str,
}

impl<'a> IntoDeserializer<'a, Wrong> for Text<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Text<'_> {
    fn wrong(&self, what: impl fmt::Display) -> Wrong {
        Wrong(format!("setting `{}` is `{}`: {what}", self.name, self.text))
    }

    fn json(&self) -> std::result::Result<serde_json::Value, Wrong> {
        serde_json::from_str(self.text).map_err(|error| self.wrong(error))
    }
}

macro_rules! number {
    ($($function:ident => $visit:ident: $type:ty, $kind:literal;)*) => {
        $(fn $function<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Wrong> {
            match self.text.trim().parse::<$type>() {
                Ok(value) => visitor.$visit(value).map_err(|Wrong(what)| self.wrong(what)),
                Err(_) => Err(self.wrong(concat!("it must be ", $kind))),
            }
        })*
    };
}

impl<'de> de::Deserializer<'de> for Text<'de> {
    type Error = Wrong;

    number! {
        deserialize_bool => visit_bool: bool, "true or false";
        deserialize_i8 => visit_i8: i8, "a whole number from -128 to 127";
        deserialize_i16 => visit_i16: i16, "a whole number from -32768 to 32767";
        deserialize_i32 => visit_i32: i32, "a whole number";
        deserialize_i64 => visit_i64: i64, "a whole number";
        deserialize_u8 => visit_u8: u8, "a whole number from 0 to 255";
        deserialize_u16 => visit_u16: u16, "a whole number from 0 to 65535";
        deserialize_u32 => visit_u32: u32, "a whole number, 0 or more";
        deserialize_u64 => visit_u64: u64, "a whole number, 0 or more";
        deserialize_f32 => visit_f32: f32, "a number";
        deserialize_f64 => visit_f64: f64, "a number";
        deserialize_char => visit_char: char, "one character";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_borrowed_str(self.text).map_err(|Wrong(what)| self.wrong(what))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        let wrong = self.wrong("");
        visitor.visit_enum(self.text.into_deserializer()).map_err(|Wrong(what)| Wrong(wrong.0 + &what))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    /// JSON, or a plain comma-separated list.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Wrong> {
        if self.text.trim_start().starts_with('[') {
            let json = self.json()?;
            return json.deserialize_seq(visitor).map_err(|error| self.wrong(error));
        }
        let name = self.name;
        let items = self.text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|text| Text { name, text });
        visitor.visit_seq(de::value::SeqDeserializer::new(items))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Wrong> {
        let mut json = serde_json::Deserializer::from_str(self.text);
        de::Deserializer::deserialize_map(&mut json, visitor).map_err(|error| self.wrong(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        name: String,
        count: u32,
        rate: Option<f64>,
        follow: bool,
        columns: Vec<String>,
    }

    fn check(list: &[(&str, &str)], expected: std::result::Result<Settings, &str>) {
        match (parse::<Settings>(list.iter().copied()), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn texts_become_what_the_field_wants() {
        let all = Settings {
            name: "5".into(),
            count: 7,
            rate: Some(0.5),
            follow: true,
            columns: vec!["a".into(), "b".into()],
        };
        check(&[("name", "5"), ("count", "7"), ("rate", "0.5"), ("follow", "true"), ("columns", "a, b")], Ok(all));
        check(&[("columns", "[\"a\"]")], Ok(Settings { columns: vec!["a".into()], ..Settings::default() }));
        check(&[("count", "many")], Err("setting `count` is `many`: it must be a whole number, 0 or more"));
        check(&[("cuont", "1")], Err("unknown field `cuont`"));
        check(&[("columns", "[1]")], Err("setting `columns`"));
    }
}
