//! Columns in words, as specs and commits have them.

use spout_fuzz::{Counting, Random, Target, change_json};

use super::SchemaText;

#[global_allocator]
static MEMORY: Counting = Counting;

/// Columns that were read are written so that the same are read again.
#[test]
fn schema_text() {
    let words = [
        "int64",
        "utf8",
        "timestamp(us, UTC)",
        "timestamp(s)",
        "decimal128(38, 4)",
        "decimal(5)",
        "map(utf8, [int64])",
        "fixed_size_binary(3)",
        "fixed_size_list(utf8, 3)",
        "map(utf8, map(utf8, utf8))",
        "dictionary(int32, utf8)",
        "(((",
        "timestamp(us, ",
        "list(utf8)",
        "null",
        "",
        "decimal128(99, 99)",
        "time64(ns)",
        "duration(ms)",
    ];
    let schema = serde_json::json!({
        "id": "int64", "at": "timestamp(us, UTC)", "price": "decimal128(20, 2)", "tags": ["utf8"],
        "by": {"name": "utf8", "deep": [{"x": "map(utf8, int64)"}]},
    });
    Target::new("schema-text", 10_000).seeds(|seed| {
        let (mut random, mut schema) = (Random::new(seed), schema.clone());
        change_json(&mut random, &mut schema, &words);
        let Ok(read) = SchemaText::stored(schema.to_string().as_bytes()) else { return false };
        let again = SchemaText::print(&read).unwrap().to_string();
        assert_eq!(SchemaText::stored(again.as_bytes()).as_ref(), Ok(&read), "seed {seed}: {again}");
        true
    });
}
