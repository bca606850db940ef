//! Hides what columns hold: a fixed text, or a hash by which equal values can still be told to be equal.

use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use spout_guest::{
    Answer, Array, ArrayBuilder, Batch, DataType, Error, Field, Handler, Input, Result, Schema, State, batch::Data,
    kernels::Column, register,
};

register! { name: "redact", summary: "hides what columns hold: a fixed text, or a hash", handler: Redact }

/// Settings of the handler.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Columns to hide; `user.email` is a field of the struct `user`.
    pub columns: Vec<String>,
    /// The text that takes the place of values, or `hash`: the SHA-256 of the value, in hexadecimal.
    #[serde(default = "text")]
    pub with: String,
}

fn text() -> String {
    "***".to_owned()
}

/// Hides columns.
#[derive(Debug)]
pub struct Redact(Settings);

impl Handler for Redact {
    type Settings = Settings;

    fn open(settings: Settings, _: State) -> Result<Self> {
        if settings.columns.is_empty() {
            Err(Error::invalid_config("setting `columns` names no column; name at least one"))
        } else {
            Ok(Self(settings))
        }
    }

    fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        let hidden = self.columns(&Batch::empty(input.clone()))?;
        Ok(Some(input.with(hidden.schema())))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        match self.hashed(input)? {
            Some(columns) => Ok(Answer::WithHeld(columns)),
            None => self.columns(input).map(Answer::WithColumns),
        }
    }
}

impl Redact {
    /// The columns hashed by the host, so that nothing of them comes here: where all are texts of their own.
    fn hashed(&self, input: &dyn Input) -> Result<Option<Vec<(String, Column)>>> {
        let schema = input.schema();
        let text = |name: &String| {
            let field = schema.fields().iter().find(|field| field.name == *name);
            field.is_some_and(|field| matches!(field.data_type, DataType::Utf8 | DataType::LargeUtf8))
        };
        if self.0.with != "hash" || !self.0.columns.iter().all(text) {
            return Ok(None);
        }
        let mut names: Vec<&String> = self.0.columns.iter().collect();
        names.sort_unstable();
        names.dedup();
        let hashed = names.into_iter().map(|name| Ok((name.clone(), input.held(name)?.hash(b"")?)));
        hashed.collect::<Result<_>>().map(Some)
    }
}

impl Redact {
    /// The columns named in the settings, hidden.
    fn columns(&self, input: &dyn Input) -> Result<Batch> {
        let schema = input.schema();
        let (mut places, mut paths) = (Vec::<usize>::new(), Vec::<Vec<Vec<&str>>>::new());
        for column in &self.0.columns {
            let (place, below) = find(&schema, column)?;
            match places.iter().position(|&known| known == place) {
                Some(at) => paths[at].push(below),
                None => {
                    places.push(place);
                    paths.push(vec![below]);
                }
            }
        }
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for ((&place, paths), mut column) in places.iter().zip(&paths).zip(input.read(&places)?) {
            let mut field = schema.field(place)?.clone();
            for path in paths {
                (field, column) = self.hide(field, column, path)?;
            }
            fields.push(field);
            columns.push(column);
        }
        Ok(Batch::new(Schema::new(fields), columns, input.rows())?)
    }
}

/// The column that `path` begins with, and the fields below it. A column may have dots in its own name.
fn find<'a>(schema: &Schema, path: &'a str) -> Result<(usize, Vec<&'a str>)> {
    let whole = schema.fields().iter().position(|field| field.name == path);
    match (whole, path.split_once('.')) {
        (None, Some((column, below))) => Ok((schema.position(column)?, below.split('.').collect())),
        _ => Ok((schema.position(path)?, Vec::new())),
    }
}

impl Redact {
    /// `column` with what is at `path` below it hidden.
    fn hide(&self, field: Field, column: Array, path: &[&str]) -> Result<(Field, Array)> {
        let Some((first, below)) = path.split_first() else {
            return Ok((Field { data_type: DataType::Utf8, ..field }, self.hidden(&column)));
        };
        let Field { name, data_type, nullable } = field;
        let missing = || Error::invalid_config(format!("there is no field `{first}` in column `{name}`"));
        let DataType::Struct(mut fields) = data_type else { return Err(missing()) };
        let at = fields.iter().position(|field| field.name == *first).ok_or_else(missing)?;
        let (len, validity, Data::Struct(mut columns)) = column.into_parts() else { return Err(missing()) };
        if at >= columns.len() {
            return Err(missing());
        }
        let (field, column) = self.hide(fields.remove(at), columns.remove(at), below)?;
        fields.insert(at, field);
        columns.insert(at, column);
        let data_type = DataType::Struct(fields);
        Ok((Field { name, data_type, nullable }, Array::new(len, validity, Data::Struct(columns))))
    }

    /// A text for each value; null stays null.
    fn hidden(&self, column: &Array) -> Array {
        let mut texts = ArrayBuilder::new(&DataType::Utf8);
        let mut value = Vec::new();
        for row in 0..column.len() {
            let there = match column.is_valid(row) {
                false => false,
                true if self.0.with == "hash" => {
                    value.clear();
                    match column.bytes(row) {
                        Some(bytes) => value.extend_from_slice(bytes),
                        None => column.write_key(row, &mut value),
                    }
                    texts.write_bytes(|to| hexadecimal(&Sha256::digest(&value), to))
                }
                true => texts.push_bytes(self.0.with.as_bytes()),
            };
            if !there {
                texts.push_null();
            }
        }
        texts.finish()
    }
}

fn hexadecimal(bytes: &[u8], to: &mut Vec<u8>) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        to.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    true
}

#[cfg(test)]
mod tests {
    use spout_guest::testing;

    use super::*;

    fn batch() -> Batch {
        let user = vec![Field::new("email", DataType::Utf8), Field::new("age", DataType::Int64)];
        let fields = vec![Field::new("id", DataType::Int64), Field::new("user", DataType::Struct(user))];
        let below = vec![["a@b", "c@d"].into_iter().collect(), [30_i64, 40].into_iter().collect()];
        let columns = vec![[Some(1_i64), None].into_iter().collect(), Array::new(2, None, Data::Struct(below))];
        Batch::new(Schema::new(fields), columns, 2).unwrap()
    }

    fn redact(settings: &[(&str, &str)]) -> Result<Batch> {
        testing::process(&mut Redact::open(testing::settings(settings)?, State::default())?, &batch())
    }

    #[test]
    fn values_are_hidden_and_nulls_stay() {
        let hidden = redact(&[("columns", r#"["id","user.email"]"#)]).unwrap();
        let id = hidden.column_by_name("id").unwrap();
        assert_eq!((id.str(0), id.str(1)), (Some("***"), None));
        let user = hidden.column_by_name("user").unwrap().fields();
        assert_eq!((user[0].str(1), user[1].i64(1)), (Some("***"), Some(40)));
        assert_eq!(hidden.schema().fields()[0].data_type, DataType::Utf8);
    }

    #[test]
    fn a_hash_is_that_of_the_text() {
        let hidden = redact(&[("columns", r#"["user.email","user.age"]"#), ("with", "hash")]).unwrap();
        let user = hidden.column_by_name("user").unwrap().fields();
        let expected = "7508d8b5018ea640b85269861a101203f0c26900555268e930025dac844b0f35";
        assert_eq!(user[0].str(0), Some(expected));
        assert_ne!(user[0].str(0), user[0].str(1));
        assert_eq!(user[1].str(0).map(str::len), Some(64));
    }

    #[test]
    fn the_host_hashes_texts_as_the_plugin_does() {
        let texts: Array = [Some("a@b"), None, Some("")].into_iter().collect();
        let user = vec![Field::new("email", DataType::Utf8)];
        let fields = vec![Field::new("email", DataType::Utf8), Field::new("user", DataType::Struct(user))];
        let below = Array::new(3, None, Data::Struct(vec![texts.clone()]));
        let batch = Batch::new(Schema::new(fields), vec![texts, below], 3).unwrap();
        let settings = [("columns", r#"["email"]"#), ("with", "hash")];
        let mut redact = Redact::open(testing::settings(&settings).unwrap(), State::default()).unwrap();
        assert!(matches!(redact.process(&batch).unwrap(), Answer::WithHeld(_)));
        let by_host = testing::process(&mut redact, &batch).unwrap();
        let settings = [("columns", r#"["email","user.email"]"#), ("with", "hash")];
        let mut redact = Redact::open(testing::settings(&settings).unwrap(), State::default()).unwrap();
        assert!(matches!(redact.process(&batch).unwrap(), Answer::WithColumns(_)));
        let by_plugin = testing::process(&mut redact, &batch).unwrap();
        assert_eq!(by_host.column_by_name("email"), by_plugin.column_by_name("email"));
    }

    #[test]
    fn columns_that_are_not_there_are_refused() {
        assert!(redact(&[("columns", "[]")]).is_err());
        assert!(redact(&[("columns", r#"["ids"]"#)]).is_err());
        assert!(redact(&[("columns", r#"["user.mail"]"#)]).is_err());
        assert!(redact(&[("columns", r#"["id.x"]"#)]).is_err());
    }
}
