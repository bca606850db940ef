//! What a statement asks of repos: tables as of some commit, and functions of ours; both are given names of tables.

use std::{collections::BTreeMap, ops::ControlFlow};

use datafusion::{
    execution::SessionState,
    sql::{
        parser::Statement,
        sqlparser::{
            ast::{
                self, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor, Value,
                VisitMut as _, VisitorMut,
            },
            dialect::GenericDialect,
            tokenizer::{Token, Tokenizer, Word},
        },
    },
};
use jiff::{Timestamp, civil::DateTime};

use super::{Error, failed, functions::Function};

/// A call of one of our table functions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<String>,
}

/// A statement in which every table is a plain name.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) statement: Statement,
    /// What the names of tables that are calls stand for.
    pub(super) calls: BTreeMap<String, Call>,
}

/// Reads a query.
///
/// # Errors
/// [`Error::Sql`], [`Error::NotAQuery`], and [`Error::FunctionArguments`] where a call does not say a text.
pub(super) fn read(state: &SessionState, sql: &str) -> Result<Asked, Error> {
    let dialect = state.config().options().sql_parser.dialect;
    let (text, aliases) = as_of(sql).unwrap_or_else(|| (sql.to_owned(), BTreeMap::new()));
    let mut statement = state.sql_to_statement(&text, &dialect).map_err(failed)?;
    let mut tables = Tables { aliases, calls: BTreeMap::new() };
    let query = query(&mut statement)?;
    match query.visit(&mut tables) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(Asked { statement, calls: tables.calls }),
    }
}

/// The query, or what is explained. Said before tables are looked for, so that `create table` is not answered with the
/// nearest repo.
fn query(statement: &mut Statement) -> Result<&mut ast::Statement, Error> {
    match statement {
        Statement::Explain(explain) => query(&mut explain.statement),
        Statement::Statement(inner) => match inner.as_mut() {
            ast::Statement::Query(_) | ast::Statement::Explain { .. } | ast::Statement::ExplainTable { .. } => {
                Ok(inner)
            }
            other => Err(not_a_query(&other.to_string())),
        },
        other => Err(not_a_query(&other.to_string())),
    }
}

pub(super) fn not_a_query(sql: &str) -> Error {
    Error::NotAQuery { what: sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ") }
}

/// Writes `events as of 'master~1'` as `"events@master~1"`, which DataFusion's parser takes; the second part is what such
/// a table is called in the rest of the query. No other SQL has a text after the words `as of`.
fn as_of(sql: &str) -> Option<(String, BTreeMap<String, Ident>)> {
    let mut tokens = Tokenizer::new(&GenericDialect {}, sql).with_unescape(false).tokenize().ok()?;
    let mut aliases = BTreeMap::new();
    loop {
        let solid: Vec<_> = (0..tokens.len()).filter(|&at| !matches!(tokens[at], Token::Whitespace(_))).collect();
        let found = solid.windows(4).find_map(|window| match window {
            &[table, r#as, of, point] => match (&tokens[table], &tokens[r#as], &tokens[of], &tokens[point]) {
                (Token::Word(table), Token::Word(r#as), Token::Word(of), Token::SingleQuotedString(text))
                    if says(r#as, "as") && says(of, "of") =>
                {
                    Some((window[0]..=point, table.clone(), text.replace("''", "'")))
                }
                _ => None,
            },
            _ => None,
        });
        let Some((range, table, text)) = found else { break };
        let name = format!("{}@{}", table.value, point(&table.value, &text));
        let quoted = Word { value: name.replace('"', "\"\""), quote_style: Some('"'), keyword: table.keyword };
        tokens.splice(range, [Token::Word(quoted)]);
        aliases.insert(name, Ident { value: table.value, quote_style: table.quote_style, span: Ident::new("").span });
    }
    (!aliases.is_empty()).then(|| (tokens.iter().map(Token::to_string).collect(), aliases))
}

fn says(word: &Word, text: &str) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text)
}

/// What follows the `@` of a reference: a time goes into braces, and the table need not be named again.
fn point(table: &str, text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix(table).and_then(|rest| rest.strip_prefix('@')).unwrap_or(text);
    let time = text.contains(':') && (text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok());
    if time { format!("{{{text}}}") } else { text.to_owned() }
}

/// Gives tables that are no plain names one.
struct Tables {
    aliases: BTreeMap<String, Ident>,
    calls: BTreeMap<String, Call>,
}

impl VisitorMut for Tables {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let (taken, call) = (args.take(), name.to_string());
                let Some(taken) = taken else {
                    self.rename(name, alias);
                    return ControlFlow::Continue(());
                };
                match Function::named(&call) {
                    Some(function) => match arguments(function, &taken.args) {
                        Ok(arguments) => self.call(Call { function, arguments }, name, alias),
                        Err(error) => return ControlFlow::Break(error),
                    },
                    None => *args = Some(taken),
                }
            }
            TableFactor::Function { name, args, alias, .. } => {
                if let Some(function) = Function::named(&name.to_string()) {
                    let arguments = match arguments(function, args) {
                        Ok(arguments) => arguments,
                        Err(error) => return ControlFlow::Break(error),
                    };
                    let (mut name, mut alias) = (name.clone(), alias.take());
                    self.call(Call { function, arguments }, &mut name, &mut alias);
                    *factor = table(name, alias);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Tables {
    /// A table as of some commit is called as if it were not.
    fn rename(&self, name: &ObjectName, alias: &mut Option<TableAlias>) {
        let [part] = name.0.as_slice() else { return };
        let known = part.as_ident().and_then(|ident| self.aliases.get(&ident.value));
        if let (Some(known), None) = (known, &alias) {
            *alias = Some(called(known.clone()));
        }
    }

    fn call(&mut self, call: Call, name: &mut ObjectName, alias: &mut Option<TableAlias>) {
        let texts: Vec<_> = call.arguments.iter().map(|text| format!("'{text}'")).collect();
        let made = format!("{}({})", call.function.name(), texts.join(", "));
        alias.get_or_insert_with(|| called(Ident::new(call.function.name())));
        *name = ObjectName::from(vec![Ident::with_quote('"', made.clone())]);
        self.calls.insert(made, call);
    }
}

fn called(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

fn table(name: ObjectName, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// The texts a function is called with, as many as it takes.
fn arguments(function: Function, given: &[FunctionArg]) -> Result<Vec<String>, Error> {
    let wrong = |what: String| Error::FunctionArguments { function: function.name(), what, usage: function.usage() };
    let text = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Ok(text.clone()),
            other => Err(wrong(format!("{other} is not a text in single quotes"))),
        },
        other => Err(wrong(format!("{other} is not a text in single quotes"))),
    };
    let texts: Vec<_> = given.iter().map(text).collect::<Result<_, _>>()?;
    if function.takes().contains(&texts.len()) {
        Ok(texts)
    } else {
        Err(wrong(format!("it is given {} arguments", texts.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_of_is_a_name_of_a_table() {
        let check = |sql: &str, expected: Option<&str>| {
            assert_eq!(as_of(sql).map(|(sql, _)| sql).as_deref(), expected, "{sql}");
        };
        check("select a as of from t", None);
        check("select 'x as of ''y'''", None);
        check("select * from t as of now()", None);
        check("select * from t as of 'dev~1'", Some("select * from \"t@dev~1\""));
        check("select * from t AS  OF '~1' u where a = 'it''s'", Some("select * from \"t@~1\" u where a = 'it''s'"));
        check("from \"a-b\" as of 'a-b@dev' -- x", Some("from \"a-b@dev\" -- x"));
        check("from t as of '2026-01-01T00:00:00Z'", Some("from \"t@{2026-01-01T00:00:00Z}\""));
        check("from t as of '2026-01-01 12:00'", Some("from \"t@{2026-01-01 12:00}\""));
        check("from t as of '2026-01-01'", Some("from \"t@2026-01-01\""));
        check("from t as of 'a' join t as of 'b'", Some("from \"t@a\" join \"t@b\""));
    }
}
