//! What is wrong with one message; formatted only when reported.

use std::borrow::Cow;

use crate::{
    DataType, RowFault,
    reason::{Misfit, Place, quote, quote_field},
};

/// What is wrong with one message; boxed to keep the success path small.
#[derive(Debug)]
pub(super) struct Wrong(Box<What>);

#[derive(Debug)]
enum What {
    /// Not JSON, at this byte.
    Syntax(&'static str, usize),
    /// Valid JSON with a value that does not fit the schema.
    Value(Value),
}

#[derive(Debug)]
struct Value {
    /// The field path, outermost first: `user.tags[2]`.
    path: String,
    at: usize,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Misfit(Misfit, DataType, Vec<u8>),
    Missing,
    Unknown,
    Twice,
    NoObject(Vec<u8>),
    NoField,
}

impl Wrong {
    #[cold]
    pub(super) fn syntax(what: &'static str, at: usize) -> Self {
        Self(Box::new(What::Syntax(what, at)))
    }

    #[cold]
    fn value(at: usize, why: Why) -> Self {
        Self(Box::new(What::Value(Value { path: String::new(), at, why })))
    }

    /// `text` does not fit `data_type`.
    #[cold]
    pub(super) fn misfit(misfit: Misfit, data_type: &DataType, text: &[u8], at: usize) -> Self {
        let beginning = text.get(..256).unwrap_or(text).to_vec();
        Self::value(at, Why::Misfit(misfit, data_type.clone(), beginning))
    }

    #[cold]
    pub(super) fn missing(at: usize) -> Self {
        Self::value(at, Why::Missing)
    }

    #[cold]
    pub(super) fn unknown(at: usize) -> Self {
        Self::value(at, Why::Unknown)
    }

    #[cold]
    pub(super) fn twice(at: usize) -> Self {
        Self::value(at, Why::Twice)
    }

    #[cold]
    pub(super) fn no_object(text: &[u8], at: usize) -> Self {
        Self::value(at, Why::NoObject(text.get(..256).unwrap_or(text).to_vec()))
    }

    #[cold]
    pub(super) fn no_field() -> Self {
        Self::value(0, Why::NoField)
    }

    /// Whether the message is valid JSON up to here.
    pub(super) fn is_value(&self) -> bool {
        matches!(*self.0, What::Value(_))
    }

    /// Adds the field `name` to the path.
    #[cold]
    pub(super) fn within(mut self, name: &str) -> Self {
        if let What::Value(Value { path, .. }) = &mut *self.0 {
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            path.insert_str(0, &format!("{name}{dot}"));
        }
        self
    }

    /// Adds item `index` of a list to the path.
    #[cold]
    pub(super) fn item(mut self, index: usize) -> Self {
        if let What::Value(Value { path, .. }) = &mut *self.0 {
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            path.insert_str(0, &format!("[{index}]{dot}"));
        }
        self
    }

    #[cold]
    pub(super) fn fault(self, message: u32) -> RowFault {
        let (code, reason) = match *self.0 {
            What::Syntax(what, at) => ("json.syntax", format!("{what}, at byte {at}")),
            What::Value(Value { path, at, why }) => why.explain(&path, at),
        };
        RowFault { message, code: Cow::Borrowed(code), reason }
    }
}

impl Why {
    fn explain(self, path: &str, at: usize) -> (&'static str, String) {
        let field = quote_field(path);
        match self {
            Self::Misfit(misfit, data_type, text) => {
                ("json.type", misfit.reason(path, &data_type, &text, Place::Byte(at)))
            }
            Self::Missing => ("json.type", format!("{field} is missing, and its column has no nulls, at byte {at}")),
            Self::Unknown => ("json.unknown", format!("{field} is not in the schema, at byte {at}")),
            Self::Twice => {
                let reason =
                    format!("{field} stands twice in its object, at byte {at}; `duplicates: last` takes the last");
                ("json.duplicate", reason)
            }
            Self::NoObject(text) => {
                ("json.type", format!("the message is not an object but {}, at byte {at}", quote(&text)))
            }
            Self::NoField => {
                ("json.type", "the object has no field, and nothing before it settled a schema".to_owned())
            }
        }
    }
}
