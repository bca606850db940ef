//! Expressions as they are written: read always, typed where the rows they are for are known.

use arrow::datatypes::SchemaRef;

use super::{
    Error, NodeSpec,
    expression::{self, Expression},
    handlers::Columns,
};

/// SQL in the spec of a handler.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    /// Its key within the handler, as in `columns.total`.
    key: String,
    sql: &'a str,
    kind: Kind,
}

/// What SQL is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Row,
    Other,
    Query,
}

impl<'a> Written<'a> {
    /// An expression over each of the rows that come in.
    pub(crate) fn row(key: impl Into<String>, sql: &'a str) -> Self {
        Self { key: key.into(), sql, kind: Kind::Row }
    }

    /// An expression over rows that the handler makes first, or over many at once.
    pub(crate) fn other(key: impl Into<String>, sql: &'a str) -> Self {
        Self { key: key.into(), sql, kind: Kind::Other }
    }

    /// A whole query.
    pub(crate) fn query(key: impl Into<String>, sql: &'a str) -> Self {
        Self { key: key.into(), sql, kind: Kind::Query }
    }

    /// The expressions of `columns`, each as `kind` says.
    pub(crate) fn columns(key: &str, columns: &'a Columns, kind: fn(String, &'a str) -> Self) -> Vec<Self> {
        columns.0.iter().map(|(name, sql)| kind(format!("{key}.{name}"), sql)).collect()
    }
}

/// What is wrong with the expressions of `node`, by their key within it. `input` are the columns that reach it, where they are
/// known.
#[must_use]
pub fn problems(node: &NodeSpec, input: Option<&SchemaRef>) -> Vec<(String, Error)> {
    let problem = |written: Written<'_>| {
        let read = match written.kind {
            Kind::Query => expression::read_query(node.id(), written.sql),
            Kind::Row | Kind::Other => expression::read(node.id(), written.sql),
        };
        let typed = |input: &SchemaRef| Expression::new(node.id(), written.sql).data_type(input).map(drop);
        let checked = match input.filter(|_| written.kind == Kind::Row) {
            Some(input) => read.and_then(|()| typed(input)),
            None => read,
        };
        checked.err().map(|error| (written.key, error))
    };
    node.spec().expressions().into_iter().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use serde_json::{Value, json};

    use super::*;

    fn check(node: Value, typed: bool, expected: &[(&str, &str)]) {
        let node: NodeSpec = serde_json::from_value(node).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let found = problems(&node, typed.then_some(&schema));
        let found: Vec<(String, String)> = found.into_iter().map(|(key, error)| (key, error.to_string())).collect();
        assert_eq!(
            found.iter().map(|found| found.0.as_str()).collect::<Vec<_>>(),
            expected.iter().map(|e| e.0).collect::<Vec<_>>()
        );
        for ((_, said), (_, part)) in found.iter().zip(expected) {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn every_expression_is_read_and_typed_where_rows_are_known() {
        check(json!({"type": "filter", "where": "n >"}), false, &[("where", "`n >`")]);
        check(json!({"type": "filter", "where": "n > 1) or (m"}), false, &[("where", "n > 1) or (m")]);
        check(json!({"type": "filter", "where": "m > 1"}), false, &[]);
        check(json!({"type": "filter", "where": "m > 1"}), true, &[("where", "columns: n")]);
        let map = json!({"type": "map", "columns": {"a": "n +", "b": "n + 1", "c": "m"}});
        check(map.clone(), false, &[("columns.a", "n +")]);
        check(map, true, &[("columns.a", "n +"), ("columns.c", "columns: n")]);
        check(
            json!({"type": "window", "period": "1s", "aggregate": {"s": "sum(n"}}),
            true,
            &[("aggregate.s", "sum(n")],
        );
        check(json!({"type": "aggregate", "columns": {"s": "sum(m)"}}), true, &[]);
        check(json!({"type": "sql", "query": "select ("}), false, &[("query", "`select (`")]);
        check(json!({"type": "sql", "query": "select 1; select 2"}), false, &[("query", "one query")]);
        let join = json!({"type": "join", "on": ["n"], "where": "(", "left": "n >", "right": {"where": "n > 0", "columns": {"x": ")"}}});
        check(join, false, &[("where", "`(`"), ("left", "`n >`"), ("right.columns.x", "`)`")]);
    }
}
