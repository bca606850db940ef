//! SQL arithmetic that never wraps: `+ - *`, unary minus, casts to whole numbers, `sum` and `avg`.
//!
//! DataFusion's own operators wrap around, and so does its `sum`. Here a result that does not fit its type is an error, whose
//! text has the operands; `sum` of whole numbers is `decimal(38, 0)`, which no number of 64 bit numbers exceeds in practice and
//! which is checked all the same; `avg` of whole numbers is the float nearest to the exact mean.
//!
//! ```text
//! install(&context)       queries: an analyzer rule behind type coercion, and the functions `sum` and `avg`
//! checked(expr, &schema)  single expressions, after type coercion and before they are simplified
//! ```
//!
//! **Invariant**: no constant is folded and no comparison is rewritten across an operator of which that changes the answer: to
//! DataFusion's optimizer they are functions that it knows nothing of. Floats keep DataFusion's operators; they do not wrap.

mod checked;
mod totals;

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, Result, config::ConfigOptions, tree_node::Transformed},
    execution::FunctionRegistry,
    logical_expr::{Expr, LogicalPlan, expr_rewriter::NamePreserver, utils::merge_schema},
    optimizer::AnalyzerRule,
    prelude::SessionContext,
};

/// Makes the queries of `context` use checked arithmetic.
pub fn install(context: &SessionContext) {
    for kind in [totals::Kind::Sum, totals::Kind::Mean] {
        context.register_udaf(kind.function());
    }
    context.add_analyzer_rule(Arc::new(CheckedArithmetic));
}

/// Makes the functions that [`install`] puts into plans known by their names, where such plans come from elsewhere.
///
/// # Errors
/// DataFusion's, of a function that cannot be registered.
pub fn register(functions: &mut dyn FunctionRegistry) -> Result<()> {
    for kind in [totals::Kind::Sum, totals::Kind::Mean] {
        functions.register_udaf(Arc::new(kind.function()))?;
    }
    for function in checked::functions() {
        functions.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// The sum of `of` that does not wrap, for plans that are made by hand.
#[must_use]
pub fn sum(of: Expr) -> Expr {
    totals::Kind::Sum.function().call(vec![of])
}

/// `expression`, whose types have been coerced for rows of `schema`, with checked operators.
///
/// # Errors
/// What DataFusion says about an expression that cannot be walked.
pub fn checked(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    checked::rewrite(expression, schema).map(|rewritten| rewritten.data)
}

/// Puts checked operators into a plan, once its types have been coerced.
#[derive(Debug)]
struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(node).map(|done| done.data)
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(checked::rewrite(expression, &schema)?.update_data(|rewritten| name.restore(rewritten)))
    })
}
