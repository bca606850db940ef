//! Statements as clients send them.

use datafusion::prelude::SessionContext;
use spout_fuzz::{Corpus, Counting, Target};

use super::statement;

#[global_allocator]
static MEMORY: Counting = Counting;

/// A statement is read or refused, before anything is looked for.
#[test]
fn sql_text() {
    let queries = [
        "select count(*) from \"github-events\" where a > 1.5 group by b order by 1 desc limit 5",
        "with x as (select a, b from t at 'v1') select * from x join u on x.a = u.a and u.b like '%é'",
        "select * from changes('events@master~1', 'events') where cast(a as decimal(38, 2)) = 'x' || text(b)",
        "explain select case when a then (select max(b) from u) else -1 end from t",
        "select 1 union all select 2; drop table t",
    ];
    let words = [
        "select ",
        " from ",
        "(",
        ")",
        " at ",
        "'",
        "\"",
        "--",
        "/*",
        ", ",
        " or not ",
        "- ",
        "::int",
        " as ",
        "case when ",
        " in (select ",
        "1e999",
        ";",
        "interval '1'",
        "array[",
    ];
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), "sql-text").and(queries).words(&words);
    let state = SessionContext::new().state();
    Target::new("sql-text", 1_500)
        .bytes(&corpus, |bytes| std::str::from_utf8(bytes).is_ok_and(|text| statement::read(&state, text).is_ok()));
}
