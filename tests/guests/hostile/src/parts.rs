//! Batches of one text column, and many ways to get them wrong.

use crate::bindings::spout::plugin::types::{ArrayNode, DataType, Field, Parts};

pub(crate) fn field(name: &str, type_: DataType, children: u32) -> Field {
    Field { name: name.into(), type_, nullable: true, children, metadata: Vec::new() }
}

/// What is declared: another column than there is, two of one name, or nothing.
pub(crate) fn declared(mode: &str) -> Option<Vec<Field>> {
    match mode {
        "other" => Some(vec![field("other", DataType::Utf8, 0)]),
        "twice" => Some(vec![field("value", DataType::Utf8, 0), field("value", DataType::Utf8, 0)]),
        _ => None,
    }
}

/// One text column `value`.
pub(crate) fn texts(values: &[&[u8]]) -> (Vec<Field>, Parts) {
    let mut offsets = vec![0_u32];
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(value);
        offsets.push(bytes.len() as u32);
    }
    let rows = values.len() as u32;
    let parts = Parts {
        rows,
        nodes: vec![ArrayNode { length: rows, nulls: 0 }],
        buffers: vec![Vec::new(), offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect(), bytes],
    };
    (vec![field("value", DataType::Utf8, 0)], parts)
}

/// Spoils a batch as `mode` says.
pub(crate) fn spoil(mode: &str, schema: &mut Vec<Field>, parts: &mut Parts) {
    match mode {
        "short-buffer" => drop(parts.buffers[1].split_off(4)),
        "missing-buffer" => drop(parts.buffers.pop()),
        "extra-buffer" => parts.buffers.push(vec![1, 2, 3]),
        "missing-node" => parts.nodes.clear(),
        "offsets-fall" => parts.buffers[1][4..8].copy_from_slice(&1_000_000_u32.to_le_bytes()),
        "offsets-beyond" => {
            let end = parts.buffers[1].len() - 4;
            parts.buffers[1][end..].copy_from_slice(&u32::MAX.to_le_bytes());
        }
        "utf8" => parts.buffers[2][0] = 0xff,
        "rows" => parts.rows += 1,
        "length" => parts.nodes[0].length = u32::MAX,
        "nulls" => parts.nodes[0].nulls = 1,
        "validity-short" => {
            parts.nodes[0].nulls = 1;
            parts.buffers[0] = vec![0];
            parts.nodes[0].length = 1000;
            parts.rows = 1000;
        }
        "deep" => {
            *schema = (0..100).map(|_| field("d", DataType::List, 1)).collect();
            schema.push(field("leaf", DataType::Int8, 0));
        }
        "columns" => *schema = (0..10_000).map(|n| field(&format!("c{n}"), DataType::Null, 0)).collect(),
        "children" => schema[0].children = u32::MAX,
        "lie" => schema[0].type_ = DataType::Int64,
        "twice" => schema.push(schema[0].clone()),
        "decimal" => schema[0].type_ = DataType::Decimal128((200, -100)),
        "fixed-zero" => schema[0].type_ = DataType::FixedSizeBinary(0),
        "fixed-huge" => schema[0].type_ = DataType::FixedSizeBinary(u32::MAX),
        "nothing-many" => {
            *schema = vec![field("nothing", DataType::Null, 0)];
            *parts = Parts {
                rows: u32::MAX,
                nodes: vec![ArrayNode { length: u32::MAX, nulls: u32::MAX }],
                buffers: Vec::new(),
            };
        }
        "giant" => parts.buffers[2] = vec![b'x'; 200 << 20],
        "many-buffers" => parts.buffers = vec![Vec::new(); 4 << 20],
        _ => {}
    }
}
