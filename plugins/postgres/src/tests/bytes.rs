//! Messages of `pgoutput`, byte by byte.

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(text.as_bytes());
    to.push(0);
}

pub(crate) fn begin(commit: u64, time: i64, xid: u32) -> Vec<u8> {
    [&b"B"[..], &commit.to_be_bytes(), &time.to_be_bytes(), &xid.to_be_bytes()].concat()
}

pub(crate) fn commit(commit: u64, end: u64) -> Vec<u8> {
    [&b"C\0"[..], &commit.to_be_bytes(), &end.to_be_bytes(), &7_i64.to_be_bytes()].concat()
}

pub(crate) fn relation(id: u32, schema: &str, table: &str, identity: u8, columns: &[(&str, u32, bool)]) -> Vec<u8> {
    let mut bytes = [&b"R"[..], &id.to_be_bytes()].concat();
    text(&mut bytes, schema);
    text(&mut bytes, table);
    bytes.push(identity);
    bytes.extend_from_slice(&u16::try_from(columns.len()).unwrap().to_be_bytes());
    for (name, kind, key) in columns {
        bytes.push(u8::from(*key));
        text(&mut bytes, name);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }
    bytes
}

/// Values; a zero byte first means that it was left as it was.
pub(crate) type Values<'a> = &'a [Option<&'a str>];

fn tuple(to: &mut Vec<u8>, values: Values<'_>) {
    to.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            None => to.push(b'n'),
            Some(value) if value.starts_with('\0') => to.push(b'u'),
            Some(value) => {
                to.push(b't');
                to.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                to.extend_from_slice(value.as_bytes());
            }
        }
    }
}

pub(crate) fn insert(table: u32, values: Values<'_>) -> Vec<u8> {
    let mut bytes = [&b"I"[..], &table.to_be_bytes(), b"N"].concat();
    tuple(&mut bytes, values);
    bytes
}

pub(crate) fn update(table: u32, old: Option<(u8, Values<'_>)>, values: Values<'_>) -> Vec<u8> {
    let mut bytes = [&b"U"[..], &table.to_be_bytes()].concat();
    if let Some((kind, old)) = old {
        bytes.push(kind);
        tuple(&mut bytes, old);
    }
    bytes.push(b'N');
    tuple(&mut bytes, values);
    bytes
}

pub(crate) fn delete(table: u32, (kind, old): (u8, Values<'_>)) -> Vec<u8> {
    let mut bytes = [&b"D"[..], &table.to_be_bytes(), &[kind]].concat();
    tuple(&mut bytes, old);
    bytes
}

pub(crate) fn truncate(tables: &[u32]) -> Vec<u8> {
    let count = u32::try_from(tables.len()).unwrap();
    let ids: Vec<u8> = tables.iter().flat_map(|id| id.to_be_bytes()).collect();
    [&b"T"[..], &count.to_be_bytes(), b"\0", &ids].concat()
}
