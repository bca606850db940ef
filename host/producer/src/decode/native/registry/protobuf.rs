//! Protobuf messages of registered files: which of a file's messages, and the files that it imports.

use std::panic;

use base64::Engine as _;
use prost_reflect::{
    DescriptorPool, FileDescriptor, MessageDescriptor,
    prost::Message as _,
    prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, field_descriptor_proto},
};

use super::schemas::Registration;

/// What the schema's own file is called: a registry has no name for it.
const MAIN: &str = "spout/registered.proto";

/// The file of `schema`.
///
/// # Errors
/// It, or what it imports, is no sound descriptor.
pub(super) fn file(schema: &Registration) -> Result<FileDescriptor, String> {
    let mut files = own();
    for referred in &schema.references {
        files.push(read(&referred.name, &referred.schema)?);
    }
    files.push(read(MAIN, &schema.schema)?);
    let made = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let mut pool = DescriptorPool::global();
        pool.add_file_descriptor_protos(files).map(|()| pool).map_err(|error| error.to_string())
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

fn read(name: &str, text: &str) -> Result<FileDescriptorProto, String> {
    let wrong = |why: String| {
        format!(
            "the registry does not give the Protobuf schema {name} as a descriptor ({why}); it has to know `format=serialized`"
        )
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    let file = FileDescriptorProto::decode(&*bytes).map_err(|error| wrong(error.to_string()))?;
    Ok(FileDescriptorProto { name: Some(name.into()), ..file })
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
