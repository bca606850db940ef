//! The setting `header`: whether there is one, or the column names.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Unexpected, Visitor},
};

/// Where column names come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Header {
    /// Whether there is a header.
    Given(bool),
    /// The names.
    Names(Vec<String>),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written)
    }
}

impl JsonSchema for Header {
    fn schema_name() -> Cow<'static, str> {
        "Header".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["boolean", "array", "string"], "items": {"type": "string"}})
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a list of the names of the columns, as in [id, name]")
    }

    fn visit_bool<E: Error>(self, given: bool) -> Result<Header, E> {
        Ok(Header::Given(given))
    }

    /// Plugin settings are text: a boolean, a JSON list, or comma-separated names. A word alone is more likely a boolean that is
    /// spelled wrong than the name of an only column.
    fn visit_str<E: Error>(self, text: &str) -> Result<Header, E> {
        match text.trim() {
            "true" => Ok(Header::Given(true)),
            "false" => Ok(Header::Given(false)),
            list if list.starts_with('[') => serde_json::from_str(list).map(Header::Names).map_err(E::custom),
            word if !word.contains(',') => Err(E::invalid_value(Unexpected::Str(word), &self)),
            names => Ok(Header::Names(names.split(',').map(|name| name.trim().to_owned()).collect())),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Header, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        Ok(Header::Names(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_what_values_do() {
        let check = |json: &str, expected: Header| assert_eq!(serde_json::from_str::<Header>(json).unwrap(), expected);
        let names = || Header::Names(vec!["a".into(), "b".into()]);
        check("true", Header::Given(true));
        check("\"false\"", Header::Given(false));
        check(r#"["a","b"]"#, names());
        check(r#""[\"a\",\"b\"]""#, names());
        check("\"a, b\"", names());
        check(r#"["a"]"#, Header::Names(vec!["a".into()]));
        assert!(serde_json::from_str::<Header>("[1]").is_err());
        for word in ["\"maybe\"", "\"yes\"", "\"\""] {
            let error = serde_json::from_str::<Header>(word).unwrap_err().to_string();
            assert!(error.contains("true, false, or a list"), "{word}: {error}");
        }
    }
}
