//! Protobuf messages of registered files: which of a file's messages, and the files that it imports.

use std::{collections::BTreeMap, panic};

use base64::Engine as _;
use prost_reflect::{
    DescriptorPool, FileDescriptor, MessageDescriptor,
    prost::Message as _,
    prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, field_descriptor_proto},
};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};

use super::schemas::Registration;

/// What the schema's own file is called: a registry has no name for it.
const MAIN: &str = "spout/registered.proto";

/// Most bytes of schemas that are texts, and how deep braces may be in each other there.
const TEXT: usize = 4 << 20;
const DEPTH: usize = 100;

/// What texts say of their parts for other readers than us.
const META: &str = r#"
syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
}
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
"#;

/// The file of `schema`.
///
/// # Errors
/// It, or what it imports, is no sound descriptor.
pub(super) fn file(schema: &Registration) -> Result<FileDescriptor, String> {
    let referred = schema.references.iter().map(|referred| (referred.name.as_str(), referred.schema.as_str()));
    let all: Vec<(&str, &str)> = referred.chain([(MAIN, schema.schema.as_str())]).collect();
    let files: Option<Vec<FileDescriptorProto>> = all.iter().map(|(name, text)| read(name, text)).collect();
    let made = panic::catch_unwind(panic::AssertUnwindSafe(|| match files {
        Some(files) => {
            let mut pool = DescriptorPool::global();
            let files = own().into_iter().chain(files);
            pool.add_file_descriptor_protos(files).map(|()| pool).map_err(|error| error.to_string())
        }
        // A registry that does not know `format=serialized` gives texts.
        None => compiled(&all),
    }));
    // The library is meant to return errors, and panics over some of what contradicts itself.
    let pool = made.unwrap_or_else(|_| Err("it contradicts itself".into()));
    let pool = pool.map_err(|why| format!("the registered Protobuf schema is not sound: {why}"))?;
    pool.get_file_by_name(MAIN).ok_or_else(|| "the registered Protobuf schema has no file".into())
}

/// The message that `indexes` lead to: one of the file, one of those in it, and so on. Entries of maps do not count.
pub(super) fn message(file: &FileDescriptor, indexes: &[u32]) -> Result<MessageDescriptor, String> {
    let (first, rest) = indexes.split_first().ok_or("the message indexes are empty")?;
    let nth = |mut all: Box<dyn Iterator<Item = MessageDescriptor> + '_>, index: u32| {
        let missing = || format!("the registered Protobuf schema has no message {indexes:?}");
        all.nth(index as usize).ok_or_else(missing)
    };
    let mut message = nth(Box::new(file.messages()), *first)?;
    for index in rest {
        let inner = nth(Box::new(message.child_messages().filter(|inner| !inner.is_map_entry())), *index)?;
        message = inner;
    }
    Ok(message)
}

/// The message of that full name, or the first of the file.
pub(super) fn named(file: &FileDescriptor, name: Option<&str>) -> Result<MessageDescriptor, String> {
    match name {
        None => message(file, &[0]),
        Some(name) => {
            let found = file.parent_pool().get_message_by_name(name.trim_start_matches('.'));
            found.ok_or_else(|| format!("the registered Protobuf schema has no message `{name}`"))
        }
    }
}

/// The descriptor that `text` is, if it is one.
fn read(name: &str, text: &str) -> Option<FileDescriptorProto> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?;
    let file = FileDescriptorProto::decode(&*bytes).ok()?;
    Some(FileDescriptorProto { name: Some(name.into()), ..file })
}

/// What `files` say, of which at least one is text, with what they import.
fn compiled(files: &[(&str, &str)]) -> Result<DescriptorPool, String> {
    if files.iter().map(|(_, text)| text.len()).sum::<usize>() > TEXT {
        return Err(format!("its texts have more than {TEXT} bytes"));
    }
    let mut known = Registered(own().into_iter().map(|file| (file.name().to_owned(), Ok(file))).collect());
    known.0.insert("confluent/meta.proto".into(), Err(META.to_owned()));
    for (name, text) in files {
        let file = match read(name, text) {
            Some(file) => Ok(file),
            None if deepest(text) > DEPTH => return Err(format!("{name} is nested deeper than {DEPTH}")),
            None => Err((*text).to_owned()),
        };
        known.0.insert((*name).to_owned(), file);
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(known);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.open_file(MAIN).map_err(|error| error.to_string())?;
    Ok(compiler.descriptor_pool())
}

/// Files by name: as descriptors, or as texts.
struct Registered(BTreeMap<String, Result<FileDescriptorProto, String>>);

impl FileResolver for Registered {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            None => Err(protox::Error::file_not_found(name)),
            Some(Ok(file)) => Ok(File::from_file_descriptor_proto(file.clone())),
            Some(Err(text)) => File::from_source(name, text),
        }
    }
}

/// How many braces and brackets are open at a time, at most.
fn deepest(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'<' | b'(' => open += 1,
            b'}' | b']' | b'>' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Files that every registry of Confluent's kind knows without a reference.
fn own() -> Vec<FileDescriptorProto> {
    use field_descriptor_proto::{Label, Type};
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(Label::Optional.into()),
        json_name: Some(name.into()),
        ..FieldDescriptorProto::default()
    };
    let file = |name: &str, package: &str, messages| FileDescriptorProto {
        name: Some(name.into()),
        package: Some(package.into()),
        syntax: Some("proto3".into()),
        message_type: messages,
        ..FileDescriptorProto::default()
    };
    let decimal = DescriptorProto {
        name: Some("Decimal".into()),
        field: vec![
            field("value", 1, Type::Bytes),
            field("precision", 2, Type::Uint32),
            field("scale", 3, Type::Int32),
        ],
        ..DescriptorProto::default()
    };
    vec![
        file("confluent/meta.proto", "confluent", Vec::new()),
        file("confluent/type/decimal.proto", "confluent.type", vec![decimal]),
    ]
}
