//! `json`: one JSON object a message becomes one row, by the decoder of the core, which the host runs natively too.

use spout_codec::{Decode as _, json};
use spout_guest::{Decoded, Decoder, Error, Messages, Opening, Result, Schema, register, schema_text};

/// Settings of the decoder; `schema` is written as JSON text.
pub type Settings = json::Settings<String>;

/// A running decoder.
#[derive(Debug)]
pub struct Json(json::Json);

impl Decoder for Json {
    type Settings = Settings;

    fn open(settings: Settings, opening: Opening) -> Result<Self> {
        if settings.evolve.adds() {
            return Err(Error::invalid_config(
                "`evolve: add-columns` is for the native decoder, which has the same settings: `decoder: {type: json, …}`",
            ));
        }
        let schema = match settings.schema.as_deref() {
            Some(text) => Some(schema_text::parse(text)?),
            None => opening.schema,
        };
        Ok(Self(json::Json::new(&settings, schema, opening.fields)?))
    }

    fn output(&self) -> Option<Schema> {
        self.0.schema().cloned()
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        Ok(self.0.decode(&messages.input())?)
    }
}

register! { name: "json", summary: "one JSON object a message, by a given or inferred schema", decoder: Json }

#[cfg(test)]
mod tests {
    use super::*;
    use spout_guest::testing;

    #[test]
    fn settings_are_the_words_of_the_native_decoder() {
        let list = [
            ("schema", r#"{"a":"int64","b":"utf8"}"#),
            ("unknown", "capture"),
            ("unknownColumn", "rest"),
            ("coerce", r#"{"numbersFromStrings":true}"#),
            ("duplicates", "last"),
            ("depth", "64"),
        ];
        let mut json = Json::open(testing::settings(&list).unwrap(), Opening::default()).unwrap();
        let decoded = json.decode(&testing::messages(&[r#"{"a":"1","a":"2","c":3}"#, "{"])).unwrap();
        assert_eq!(decoded.batch.column_by_name("a").unwrap().i64(0), Some(2));
        assert_eq!(decoded.batch.column_by_name("rest").unwrap().str(0), Some(r#"{"c":3}"#));
        assert_eq!((decoded.faults.len(), decoded.unknown.len()), (1, 1));
        assert!(testing::settings::<Settings>(&[("unkown", "fail")]).is_err());
        let adds = testing::settings(&[("evolve", "add-columns")]).unwrap();
        assert!(Json::open(adds, Opening::default()).unwrap_err().to_string().contains("native decoder"));
    }

    #[test]
    fn a_settled_schema_is_kept() {
        let settled = schema_text::parse(r#"{"a":"float64"}"#).unwrap();
        let opening = Opening { schema: Some(settled.clone()), ..Opening::default() };
        let mut json = Json::open(Settings::default(), opening).unwrap();
        let decoded = json.decode(&testing::messages(&[r#"{"a":1,"b":2}"#])).unwrap();
        assert_eq!(*decoded.batch.schema(), settled);
        assert_eq!(json.output(), Some(settled));
        assert_eq!(Json::open(Settings::default(), Opening::default()).unwrap().output(), None);
    }
}
