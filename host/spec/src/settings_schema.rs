//! The schema that a plugin offers for its settings: what it says is not believed before it was looked at.

use serde_json::Value;
use thiserror::Error as ThisError;

/// Bytes that a schema may have.
const LONGEST: usize = 1 << 20;
/// Alternatives and references of all of it, each counted as often as a value may come to it.
const MOST: u32 = 100_000;
/// References and alternatives that may lead from one to the next before there is a value in between.
const DEEPEST: usize = 100;

/// What is wrong with a schema.
#[derive(Debug, ThisError)]
pub enum SchemaError {
    /// It cannot be read.
    #[error("it is not JSON")]
    Text(#[from] serde_json::Error),
    /// It is larger than any settings need.
    #[error("it has {0} bytes, more than the {LONGEST} it may have")]
    Long(usize),
    /// No value could ever be compared with it.
    #[error("`{0}` refers to itself with no value in between")]
    Circle(String),
    /// References lead on and on, each to the next.
    #[error("more than {DEEPEST} references and alternatives follow each other with no value in between")]
    Deep,
    /// It takes too long to compare a value with it.
    #[error("it has more than {MOST} alternatives, with those they refer to")]
    Wide,
}

/// A schema that values can be compared with in bounded time.
#[derive(Clone, Debug)]
pub struct SettingsSchema(Value);

impl SettingsSchema {
    /// Reads a schema.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > LONGEST {
            return Err(SchemaError::Long(text.len()));
        }
        let root: Value = serde_json::from_str(text)?;
        let mut looking = Looking { root: &root, above: Vec::new(), left: MOST };
        looking.within(&root)?;
        Ok(Self(root))
    }

    /// The schema.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// Follows references and alternatives, as a value does that is compared with them.
struct Looking<'a> {
    root: &'a Value,
    /// Schemas that are being looked at for one value.
    above: Vec<&'a Value>,
    left: u32,
}

impl<'a> Looking<'a> {
    /// Everything in `schema`.
    fn within(&mut self, schema: &'a Value) -> Result<(), SchemaError> {
        self.at(schema)?;
        match schema {
            Value::Object(map) => map.values().try_for_each(|inner| self.within(inner)),
            Value::Array(list) => list.iter().try_for_each(|inner| self.within(inner)),
            _ => Ok(()),
        }
    }

    /// What one value is compared with that comes to `schema`.
    fn at(&mut self, schema: &'a Value) -> Result<(), SchemaError> {
        self.left = self.left.checked_sub(1).ok_or(SchemaError::Wide)?;
        if self.above.len() > DEEPEST {
            return Err(SchemaError::Deep);
        }
        if self.above.iter().any(|above| std::ptr::eq(*above, schema)) {
            return Err(SchemaError::Circle(schema.to_string().chars().take(100).collect()));
        }
        self.above.push(schema);
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.strip_prefix('#'));
        if let Some(next) = pointer.and_then(|pointer| self.root.pointer(pointer)) {
            self.at(next)?;
        }
        let lists = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)).filter_map(Value::as_array);
        lists.flatten().try_for_each(|inner| self.at(inner))?;
        self.above.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_without_end_is_refused_and_one_of_a_tree_is_not() {
        let wide: String = (0..30)
            .map(|n| format!(r##""d{n}":{{"anyOf":[{{"$ref":"#/d{next}"}},{{"$ref":"#/d{next}"}}]}},"##, next = n + 1))
            .collect();
        for (text, expected) in [
            (r#"{"type":"object"}"#.to_owned(), None),
            (r##"{"type":"object","properties":{"left":{"$ref":"#"},"all":{"items":{"$ref":"#"}}}}"##.into(), None),
            ("{".into(), Some("not JSON")),
            (r##"{"$ref":"#"}"##.into(), Some("refers to itself")),
            (r##"{"anyOf":[{"$ref":"#"}]}"##.into(), Some("refers to itself")),
            (
                r##"{"properties":{"a":{"oneOf":[{"$ref":"#/properties/b"}]},"b":{"$ref":"#/properties/a"}}}"##.into(),
                Some("refers to itself"),
            ),
            (format!(r##"{{{wide}"d30":{{}},"$ref":"#/d0"}}"##), Some("alternatives")),
            (format!(r#"{{"description":"{}"}}"#, "x".repeat(LONGEST)), Some("bytes")),
        ] {
            let found = SettingsSchema::parse(&text).err().map(|error| error.to_string());
            assert_eq!(found.is_some(), expected.is_some(), "{text:.80}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{text:.80}");
        }
    }

    #[test]
    fn a_schema_that_leads_too_deep_is_refused() {
        let chain = |length: usize| {
            let links: String = (0..length).map(|n| format!(r##""d{n}":{{"$ref":"#/d{}"}},"##, n + 1)).collect();
            SettingsSchema::parse(&format!(r##"{{{links}"d{length}":{{"type":"string"}},"$ref":"#/d0"}}"##))
        };
        assert!(chain(50).is_ok());
        // The parent followed these on the stack, which has no room for them.
        assert!(matches!(chain(30_000).unwrap_err(), SchemaError::Deep));
    }
}
