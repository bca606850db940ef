//! An Avro schema as types, for the resolution of one with another.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::shape::{blocks, length, take, varint};

/// A type, and what its values mean beyond it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schema {
    pub(super) kind: Kind,
    /// The logical type, with what belongs to it.
    pub(super) logical: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(Name, usize),
    Enum(Name, Symbols),
    Array(Box<Schema>),
    Map(Box<Schema>),
    Union(Vec<Schema>),
    Record(Name, Vec<Field>),
}

/// A full name, and other ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) full: String,
    aliases: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Symbols {
    pub(super) all: Vec<String>,
    pub(super) default: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) default: Option<Value>,
    pub(super) schema: Schema,
}

impl Name {
    /// Whether a writer's type of the name `written` may be read as this one: the last parts are the same, or an alias is.
    pub(super) fn reads(&self, written: &Self) -> bool {
        last(&self.full) == last(&written.full) || self.aliases.contains(&written.full)
    }
}

impl Schema {
    /// The types of `schema`, whose [`Shape`](super::shape::Shape) can be had: it is no deeper and no larger than that allows.
    ///
    /// # Errors
    /// What is no Avro schema.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        Reading::default().schema(schema, "")
    }

    /// Moves `bytes` behind one value.
    ///
    /// # Errors
    /// The bytes are no value of this type.
    pub(super) fn skip(&self, bytes: &mut &[u8]) -> Result<(), String> {
        match &self.kind {
            Kind::Null => Ok(()),
            Kind::Boolean => take(bytes, 1).map(|_| ()),
            Kind::Int | Kind::Long | Kind::Enum(..) => varint(bytes).map(|_| ()),
            Kind::Float => take(bytes, 4).map(|_| ()),
            Kind::Double => take(bytes, 8).map(|_| ()),
            Kind::Fixed(_, size) => take(bytes, *size).map(|_| ()),
            Kind::Bytes | Kind::String => {
                let length = length(bytes)?;
                take(bytes, length).map(|_| ())
            }
            Kind::Array(item) => blocks(bytes, |bytes| item.skip(bytes)),
            Kind::Map(value) => blocks(bytes, |bytes| {
                let length = length(bytes)?;
                take(bytes, length)?;
                value.skip(bytes)
            }),
            Kind::Union(branches) => {
                let index = varint(bytes)?;
                let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
                branch.ok_or_else(|| format!("there is no branch {index}"))?.skip(bytes)
            }
            Kind::Record(_, fields) => fields.iter().try_for_each(|field| field.schema.skip(bytes)),
        }
    }

    /// What it is called in messages.
    pub(super) fn word(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Boolean => "boolean".into(),
            Kind::Int => "int".into(),
            Kind::Long => "long".into(),
            Kind::Float => "float".into(),
            Kind::Double => "double".into(),
            Kind::Bytes => "bytes".into(),
            Kind::String => "string".into(),
            Kind::Fixed(name, size) => format!("fixed `{}` of {size} bytes", name.full),
            Kind::Enum(name, _) => format!("enum `{}`", name.full),
            Kind::Array(_) => "array".into(),
            Kind::Map(_) => "map".into(),
            Kind::Union(_) => "union".into(),
            Kind::Record(name, _) => format!("record `{}`", name.full),
        }
    }
}

/// The last part of a full name.
fn last(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

#[derive(Debug, Default)]
struct Reading(BTreeMap<String, Schema>);

impl Reading {
    fn schema(&mut self, schema: &Value, namespace: &str) -> Result<Schema, String> {
        match schema {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.schema(branch, namespace));
                Ok(plain(Kind::Union(branches.collect::<Result<_, _>>()?)))
            }
            Value::Object(object) => {
                let mut read = self.object(object, namespace)?;
                read.logical = logical(object).or(read.logical);
                Ok(read)
            }
            other => Err(format!("the Avro schema has {other} where a type should be")),
        }
    }

    fn named(&self, name: &str, namespace: &str) -> Result<Schema, String> {
        Ok(plain(match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "int" => Kind::Int,
            "long" => Kind::Long,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "bytes" => Kind::Bytes,
            "string" => Kind::String,
            name => {
                let known = self.0.get(&full(name, namespace)).or_else(|| self.0.get(name));
                return known.cloned().ok_or_else(|| format!("the Avro schema has no type `{name}`"));
            }
        }))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Schema, String> {
        let of = |key: &str| object.get(key).ok_or_else(|| format!("an Avro type has no `{key}`"));
        let Value::String(kind) = of("type")? else { return self.schema(of("type")?, namespace) };
        if !matches!(kind.as_str(), "record" | "error" | "enum" | "fixed" | "array" | "map") {
            return self.named(kind, namespace);
        }
        if kind == "array" {
            return Ok(plain(Kind::Array(Box::new(self.schema(of("items")?, namespace)?))));
        }
        if kind == "map" {
            return Ok(plain(Kind::Map(Box::new(self.schema(of("values")?, namespace)?))));
        }
        let inside = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let name = full(of("name")?.as_str().unwrap_or_default(), inside);
        let inside = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let aliases = words(object, "aliases").iter().map(|alias| full(alias, &inside)).collect();
        let named = Name { full: name.clone(), aliases };
        let read = plain(match kind.as_str() {
            "enum" => {
                let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
                Kind::Enum(named, Symbols { all: words(object, "symbols"), default })
            }
            "fixed" => {
                let size = of("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                Kind::Fixed(named, size.ok_or("an Avro fixed has no size")?)
            }
            _ => {
                let fields = of("fields")?.as_array().ok_or("an Avro record has no fields")?;
                let fields = fields.iter().map(|field| self.field(field, &inside));
                Kind::Record(named, fields.collect::<Result<_, _>>()?)
            }
        });
        let read = Schema { logical: logical(object), ..read };
        self.0.insert(name, read.clone());
        Ok(read)
    }

    fn field(&mut self, field: &Value, namespace: &str) -> Result<Field, String> {
        let object = field.as_object().ok_or("an Avro record has a field that is none")?;
        let name = object.get("name").and_then(Value::as_str).ok_or("an Avro field has no name")?;
        let schema = self.schema(object.get("type").ok_or("an Avro field has no type")?, namespace)?;
        let default = object.get("default").cloned();
        Ok(Field { name: name.to_owned(), aliases: words(object, "aliases"), default, schema })
    }
}

fn plain(kind: Kind) -> Schema {
    Schema { kind, logical: None }
}

/// A logical type with what belongs to it.
fn logical(object: &Map<String, Value>) -> Option<String> {
    let name = object.get("logicalType")?.as_str()?;
    let number = |key: &str| object.get(key).and_then(Value::as_u64).unwrap_or(0);
    Some(if name == "decimal" {
        format!("decimal({}, {})", number("precision"), number("scale"))
    } else {
        name.to_owned()
    })
}

fn words(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let all = object.get(key).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
