//! Expressions as they are written: read always, typed where the rows they are for are known.

use arrow::datatypes::SchemaRef;

use super::{
    Error, NodeSpec,
    expression::{self, Expression},
    handlers::Columns,
};

/// An expression in the spec of a handler.
#[derive(Debug)]
struct Written<'a> {
    /// Its key within the handler, as in `columns.total`.
    key: String,
    sql: &'a str,
    kind: Kind,
}

/// What an expression is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Each of the rows that come in.
    Row,
    /// Rows that the handler makes first, or many at once.
    Other,
    /// A whole query.
    Query,
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
    written(node).into_iter().filter_map(problem).collect()
}

fn written<'a>(node: &'a NodeSpec) -> Vec<Written<'a>> {
    let one = |key: &str, sql: &'a str, kind| Written { key: key.to_owned(), sql, kind };
    match node {
        NodeSpec::Filter(spec) => vec![one("where", &spec.r#where, Kind::Row)],
        NodeSpec::Map(spec) => columns("columns", &spec.columns, Kind::Row),
        NodeSpec::Default(spec) => columns("columns", &spec.columns, Kind::Row),
        NodeSpec::Aggregate(spec) => columns("columns", &spec.columns, Kind::Other),
        NodeSpec::Window(spec) => columns("aggregate", &spec.aggregate, Kind::Other),
        NodeSpec::DynamicWindow(spec) => columns("aggregate", &spec.aggregate, Kind::Other),
        NodeSpec::Sql(spec) => vec![one("query", &spec.query, Kind::Query)],
        NodeSpec::Join(spec) => {
            let own = [("where", &spec.r#where, Kind::Other), ("side", &spec.side, Kind::Row)];
            let own = own.into_iter().filter_map(|(key, sql, kind)| Some(one(key, sql.as_deref()?, kind)));
            let sides = [("left", &spec.left), ("right", &spec.right)].into_iter();
            let sides = sides.filter_map(|(key, side)| Some((key, side.as_ref()?)));
            own.chain(sides.flat_map(|(key, side)| {
                let (place, condition, made) = side.written(key);
                let mut all = vec![Written { key: place, sql: condition, kind: Kind::Row }];
                all.extend(made.into_iter().flat_map(|made| columns(&format!("{key}.columns"), made, Kind::Row)));
                all
            }))
            .collect()
        }
        NodeSpec::Dedupe(_)
        | NodeSpec::Derivative(_)
        | NodeSpec::Dispatch(_)
        | NodeSpec::Group(_)
        | NodeSpec::Log(_)
        | NodeSpec::Plugin(_)
        | NodeSpec::Sample(_)
        | NodeSpec::Sort(_)
        | NodeSpec::Threshold(_)
        | NodeSpec::Throttle(_) => Vec::new(),
    }
}

fn columns<'a>(key: &str, columns: &'a Columns, kind: Kind) -> Vec<Written<'a>> {
    let column = |(name, sql): &'a (String, String)| Written { key: format!("{key}.{name}"), sql, kind };
    columns.0.iter().map(column).collect()
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
