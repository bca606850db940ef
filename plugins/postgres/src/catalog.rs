//! What the server's catalogs say: the slot, and the tables of the publication.

use std::time::Instant;

use spout_guest::{Error, Result};

use crate::{
    Lsn, Settings, fault,
    pgoutput::{Column, Relation},
    place::Cursor,
    session::{Row, Session, literal, name, text},
};

/// The system's number and how far its log goes.
///
/// # Errors
/// The server does not say.
pub(crate) fn system(session: &mut Session) -> Result<(String, Lsn)> {
    let rows = session.query("say which system it is", "IDENTIFY_SYSTEM")?;
    let row = rows.first();
    let said = row.and_then(|row| Some((text(row, 0)?, text(row, 2)?.parse().ok()?)));
    said.ok_or_else(|| Error::retriable("postgres.protocol", "the server does not say which system it is"))
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// What it gives begins here.
    pub(crate) confirmed: Lsn,
}

/// The slot of the settings, if there is one.
///
/// # Errors
/// It is none of ours, or has lost what it had.
pub(crate) fn slot(session: &mut Session, settings: &Settings) -> Result<Option<Slot>> {
    let lost = if session.version >= 130_000 { "wal_status" } else { "null" };
    let sql = format!(
        "SELECT plugin, database, temporary, confirmed_flush_lsn, {lost} FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(&settings.slot)
    );
    let rows = session.query("show its replication slots", &sql)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let name = &settings.slot;
    let ours = text(row, 0).as_deref() == Some("pgoutput")
        && text(row, 1).as_deref() == Some(&settings.database)
        && text(row, 2).as_deref() == Some("f");
    if !ours {
        let told =
            format!("the slot `{name}` is not one of `pgoutput` in the database `{}`; name another", settings.database);
        return Err(Error::fatal("postgres.slot", told));
    }
    if text(row, 4).as_deref() == Some("lost") {
        return Err(fault::lost(
            name,
            "was invalidated: the server removed log that it needed (`max_slot_wal_keep_size`)",
        ));
    }
    match text(row, 3).and_then(|lsn| lsn.parse().ok()) {
        Some(confirmed) => Ok(Some(Slot { confirmed })),
        // One that is being made.
        None => Err(Error::retriable("postgres.slot-in-use", format!("the slot `{name}` is being created"))),
    }
}

/// A table of the publication as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// Its published columns; those of the key are marked.
    pub(crate) columns: Vec<Column>,
    /// The columns that identify a row, in the order of their index.
    pub(crate) key: Vec<KeyColumn>,
    /// Their names.
    pub(crate) names: Vec<String>,
    /// Whether it is partitioned, and its rows are in its parts.
    parted: bool,
    /// Which of its rows are published.
    filter: Option<String>,
}

/// A column of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    /// Its type, as SQL.
    kind: String,
    /// Its collation, as SQL.
    collation: Option<String>,
    position: u32,
}

/// The tables of the publication that are wanted, in the order in which they are read.
///
/// # Errors
/// There is no such publication.
pub(crate) fn tables(session: &mut Session, settings: &Settings, publication: &str) -> Result<Vec<Table>> {
    let known = session.query(
        "show its publications",
        &format!("SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {}", literal(publication)),
    )?;
    if known.is_empty() {
        let told = format!(
            "there is no publication `{publication}` in the database `{}`: CREATE PUBLICATION {} FOR ALL TABLES, or FOR TABLE …",
            settings.database,
            name(publication)
        );
        return Err(Error::fatal("postgres.publication", told));
    }
    let rows = session.query("show the tables of its publication", &columns_of(session.version, publication))?;
    let mut tables: Vec<Table> = Vec::new();
    for row in &rows {
        let (Some(schema), Some(table)) = (text(row, 0), text(row, 1)) else { continue };
        if !settings.wants(&schema, &table) {
            continue;
        }
        let new = tables.last().is_none_or(|last| last.schema != schema || last.table != table);
        if new {
            let parted = text(row, 2).as_deref() == Some("p");
            let (columns, key, names) = (Vec::new(), Vec::new(), Vec::new());
            tables.push(Table { schema, table, columns, key, names, parted, filter: text(row, 3) });
        }
        if let Some(table) = tables.last_mut() {
            add(table, row);
        }
    }
    for table in &mut tables {
        table.key.sort_by_key(|column| column.position);
        table.names = table.key.iter().map(|column| column.name.clone()).collect();
    }
    tables.sort_by(|one, other| one.place().cmp(&other.place()));
    let missing = settings.tables.iter().find(|wanted| {
        !tables.iter().any(|table| {
            wanted.strip_prefix(&table.schema).and_then(|rest| rest.strip_prefix('.')) == Some(&table.table)
        })
    });
    match missing {
        Some(wanted) => {
            Err(Error::invalid_config(format!("`tables`: `{wanted}` is not in the publication `{publication}`")))
        }
        None => Ok(tables),
    }
}

fn add(table: &mut Table, row: &Row) {
    let Some(column) = text(row, 4) else { return };
    let kind = text(row, 5).and_then(|kind| kind.parse().ok()).unwrap_or(0);
    let position = text(row, 6).and_then(|position| position.parse().ok());
    if let (Some(position), Some(kind)) = (position, text(row, 7)) {
        table.key.push(KeyColumn { name: column.clone(), kind, collation: text(row, 8), position });
    }
    table.columns.push(Column { name: column, kind, key: position.is_some() });
}

/// A row for each column. The key is the index of the replica identity where there is one, otherwise the primary key.
fn columns_of(version: u32, publication: &str) -> String {
    // Lists of columns and filters of rows came with 15.
    let (filter, listed) =
        if version >= 150_000 { ("p.rowfilter", "AND a.attname = ANY (p.attnames)") } else { ("null", "") };
    format!(
        "SELECT n.nspname, c.relname, c.relkind, {filter}, a.attname, a.atttypid, k.position, format_type(a.atttypid, -1),
           (SELECT quote_ident(m.nspname) || '.' || quote_ident(o.collname) FROM pg_catalog.pg_collation o
              JOIN pg_catalog.pg_namespace m ON m.oid = o.collnamespace WHERE o.oid = a.attcollation)
         FROM pg_catalog.pg_publication_tables p
         JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
         JOIN pg_catalog.pg_attribute a
           ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' {listed}
         LEFT JOIN LATERAL (
           SELECT array_position(i.indkey::int2[], a.attnum) AS position, i.indnkeyatts AS count FROM pg_catalog.pg_index i
            WHERE i.indrelid = c.oid AND i.indisvalid
              AND CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END
         ) k ON k.position < k.count
         WHERE p.pubname = {}
         ORDER BY n.nspname, c.relname, a.attnum",
        literal(publication)
    )
}

impl Table {
    /// By what it is ordered.
    pub(crate) fn place(&self) -> (&str, &str) {
        (&self.schema, &self.table)
    }

    /// Whether `cursor` can be a row of this table.
    pub(crate) fn fits(&self, cursor: &Cursor) -> bool {
        self.place() == (&cursor.schema, &cursor.table)
            && self.key.len() == cursor.key.len()
            && self.key.iter().zip(&cursor.key).all(|(column, (name, _))| column.name == *name)
    }

    /// The key of a row that has these columns.
    pub(crate) fn cursor(&self, row: &Row) -> Option<Cursor> {
        let value = |column: &KeyColumn| {
            let at = self.columns.iter().position(|other| other.name == column.name)?;
            Some((column.name.clone(), text(row, at)?))
        };
        let key = self.key.iter().map(value).collect::<Option<Vec<_>>>()?;
        Some(Cursor { schema: self.schema.clone(), table: self.table.clone(), key })
    }

    /// The next rows in the order of the key, at most `most`.
    pub(crate) fn select(&self, after: Option<&Cursor>, most: u32) -> String {
        let listed = |names: Vec<String>| names.join(", ");
        let columns = listed(self.columns.iter().map(|column| name(&column.name)).collect());
        let keys = listed(self.key.iter().map(|column| name(&column.name)).collect());
        let mut conditions: Vec<String> = self.filter.iter().map(|filter| format!("({filter})")).collect();
        if let Some(cursor) = after {
            conditions
                .push(format!("({keys}) > ({})", self.values(cursor.key.iter().map(|(_, value)| value.as_str()))));
        }
        let conditions =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("SELECT {columns} FROM {}{conditions} ORDER BY {keys} LIMIT {most}", self.named())
    }

    /// These columns of one row.
    pub(crate) fn one(&self, key: &[String], columns: &[&str]) -> String {
        let list = |names: Vec<String>| names.join(", ");
        let columns = list(columns.iter().map(|column| name(column)).collect());
        let keys = list(self.key.iter().map(|column| name(&column.name)).collect());
        let values = self.values(key.iter().map(String::as_str));
        format!("SELECT {columns} FROM {} WHERE ({keys}) = ({values})", self.named())
    }

    /// It in SQL.
    fn named(&self) -> String {
        let only = if self.parted { "" } else { "ONLY " };
        format!("{only}{}.{}", name(&self.schema), name(&self.table))
    }

    /// Texts as values of the key, in SQL.
    fn values<'a>(&self, texts: impl Iterator<Item = &'a str>) -> String {
        let typed = |(text, column): (&str, &KeyColumn)| column.typed(&literal(text));
        texts.zip(&self.key).map(typed).collect::<Vec<_>>().join(", ")
    }

    /// Asks which of `keys` do not come after the cursor: a row for each.
    pub(crate) fn compare<'a>(&self, keys: impl Iterator<Item = &'a [String]>, cursor: &Cursor) -> String {
        let end = self.values(cursor.key.iter().map(|(_, value)| value.as_str()));
        let one = |(n, key): (usize, &[String])| {
            format!("({n}, {})", key.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", "))
        };
        let all = keys.enumerate().map(one).collect::<Vec<_>>().join(", ");
        let named: Vec<String> = (0..self.key.len()).map(|n| format!("k{n}")).collect();
        let typed = self.key.iter().zip(&named).map(|(column, name)| column.typed(name)).collect::<Vec<_>>().join(", ");
        let named = named.join(", ");
        format!("SELECT ROW({typed}) <= ROW({end}) FROM (VALUES {all}) v (n, {named}) ORDER BY n")
    }
}

impl KeyColumn {
    /// A text in SQL as a value of this column.
    fn typed(&self, text: &str) -> String {
        let collation = self.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        format!("{text}::{}{collation}", self.kind)
    }
}

/// The primary key of a table whose identity is not one of columns. A stream cannot ask, so this is another session.
pub(crate) fn primary_key(settings: &Settings, relation: &Relation, call: Instant) -> Result<Vec<String>> {
    let mut session = Session::open(settings, false, call)?;
    let sql = format!(
        "SELECT a.attname FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place) ON k.place <= i.indnkeyatts
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
         WHERE i.indisprimary AND n.nspname = {} AND c.relname = {} ORDER BY k.place",
        literal(&relation.schema),
        literal(&relation.table)
    );
    let rows = session.query("show a primary key", &sql)?;
    session.close();
    let key: Vec<String> = rows.iter().filter_map(|row| text(row, 0)).collect();
    let known = |name: &String| relation.columns.iter().any(|Column { name: column, .. }| column == name);
    Ok(if key.iter().all(known) { key } else { Vec::new() })
}
