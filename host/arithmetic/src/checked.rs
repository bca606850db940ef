//! Operators that fail where their result does not fit, as scalar functions in the place of DataFusion's own.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, RecordBatchOptions},
    compute::{cast, kernels::numeric},
    datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Schema},
};
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result, ScalarValue, internal_err, plan_err,
        tree_node::{Transformed, TreeNode as _},
    },
    logical_expr::{
        BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable as _, Operator, ReturnFieldArgs, ScalarFunctionArgs,
        ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary::BinaryTypeCoercer, expr::ScalarFunction,
    },
    physical_expr::{
        PhysicalExpr,
        expressions::{self, Column, Literal},
    },
};

const DAY: i64 = 86_400_000;

/// `expression` with functions in the place of operators that could wrap. Its types have to be coerced already.
pub(super) fn rewrite(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expression.transform_up(|part| {
        let kind = |part: &Expr| part.get_type(schema);
        let (op, arguments) = match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let arithmetic = matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply);
                if !arithmetic || !wraps(&kind(&left)?) || !wraps(&kind(&right)?) {
                    return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
                }
                (Op::Binary(op), vec![*left, *right])
            }
            Expr::Negative(inner) if wraps(&kind(&inner)?) => (Op::Negate, vec![*inner]),
            Expr::Cast(Cast { expr, field }) if narrows(&kind(&expr)?, field.data_type()) => {
                (Op::Cast(field.data_type().clone()), vec![*expr])
            }
            other => return Ok(Transformed::no(other)),
        };
        let function = Arc::new(ScalarUDF::new_from_impl(Checked::new(op)));
        Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))))
    })
}

/// All functions that can be in the place of an operator.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    use DataType as T;
    let binary = [Operator::Plus, Operator::Minus, Operator::Multiply].map(Op::Binary);
    let casts = [T::Int8, T::Int16, T::Int32, T::Int64, T::UInt8, T::UInt16, T::UInt32, T::UInt64].map(Op::Cast);
    let all = binary.into_iter().chain([Op::Negate]).chain(casts);
    all.map(|op| ScalarUDF::new_from_impl(Checked::new(op)))
}

/// Whether DataFusion's operators over this type can wrap around.
fn wraps(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_decimal() || kind.is_temporal() || matches!(kind, DataType::Interval(_))
}

/// Whether a cast to whole numbers has values that it cannot keep, so that no comparison may be moved across it.
fn narrows(from: &DataType, to: &DataType) -> bool {
    let bits = |kind: &DataType| kind.primitive_width().unwrap_or(0);
    let fits = || match (from.is_signed_integer(), to.is_signed_integer()) {
        (true, false) => false,
        (false, true) => bits(to) > bits(from),
        _ => bits(to) >= bits(from),
    };
    to.is_integer() && (from.is_floating() || from.is_decimal() || from.is_integer() && !fits())
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    Binary(Operator),
    Negate,
    Cast(DataType),
}

/// An operator that fails instead of wrapping.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Op,
    signature: Signature,
}

impl Checked {
    fn new(op: Op) -> Self {
        let arguments = if matches!(op, Op::Binary(_)) { 2 } else { 1 };
        Self { op, signature: Signature::any(arguments, Volatility::Immutable) }
    }

    /// As DataFusion writes the operator, so that columns keep their names.
    fn written(&self, arguments: &[Expr], write: impl Fn(&Expr) -> String) -> String {
        match (&self.op, arguments) {
            (Op::Binary(op), [left, right]) => format!("{} {op} {}", write(left), write(right)),
            (Op::Negate, [inner]) => format!("(- {})", write(inner)),
            // The name of a cast is that of what is cast.
            (Op::Cast(_), [inner]) => write(inner),
            _ => self.name().to_owned(),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match &self.op {
            Op::Binary(Operator::Plus) => "add",
            Op::Binary(Operator::Minus) => "subtract",
            Op::Binary(_) => "multiply",
            Op::Negate => "negate",
            // By the name alone a plan that comes from elsewhere says which it is.
            Op::Cast(DataType::Int8) => "cast_int8",
            Op::Cast(DataType::Int16) => "cast_int16",
            Op::Cast(DataType::Int32) => "cast_int32",
            Op::Cast(DataType::Int64) => "cast_int64",
            Op::Cast(DataType::UInt8) => "cast_uint8",
            Op::Cast(DataType::UInt16) => "cast_uint16",
            Op::Cast(DataType::UInt32) => "cast_uint32",
            Op::Cast(DataType::UInt64) => "cast_uint64",
            Op::Cast(_) => "cast",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(self.written(arguments, Expr::to_string))
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(self.written(arguments, |argument| argument.schema_name().to_string()))
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        match (&self.op, kinds) {
            (Op::Binary(op), [left, right]) => BinaryTypeCoercer::new(left, op, right).get_result_type(),
            (Op::Negate, [inner]) => Ok(inner.clone()),
            (Op::Cast(kind), [_]) => Ok(kind.clone()),
            _ => plan_err!("`{}` has {} arguments", self.name(), kinds.len()),
        }
    }

    /// Null where an argument is, as with the operators.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kinds: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&kinds)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (&self.op, args.args.as_slice()) {
            (Op::Binary(op), [left, right]) => binary(*op, left, right, args.number_rows),
            (Op::Negate, [inner]) => each(inner, |array| Ok(numeric::neg(array)?)),
            (Op::Cast(kind), [inner]) => inner.cast_to(kind, None),
            (_, others) => internal_err!("`{}` has {} arguments", self.name(), others.len()),
        }
    }
}

fn binary(op: Operator, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    if op == Operator::Minus && left.data_type() == DataType::Date64 && right.data_type() == DataType::Date64 {
        return days(left, right, rows);
    }
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let mut operand = |value: &ColumnarValue| -> Arc<dyn PhysicalExpr> {
        match value {
            ColumnarValue::Scalar(scalar) => Arc::new(Literal::new(scalar.clone())),
            ColumnarValue::Array(array) => {
                let at = columns.len();
                fields.push(Field::new(at.to_string(), array.data_type().clone(), true));
                columns.push(Arc::clone(array));
                Arc::new(Column::new(&at.to_string(), at))
            }
        }
    };
    let operator = expressions::BinaryExpr::new(operand(left), op, operand(right)).with_fail_on_overflow(true);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    let value = operator.evaluate(&batch)?;
    match value.data_type() {
        // The kernels look at bits, not at digits.
        DataType::Decimal128(..) | DataType::Decimal256(..) => each(&value, |array| {
            digits(array)?;
            Ok(array.slice(0, array.len()))
        }),
        _ => Ok(value),
    }
}

/// Fails if a decimal has more digits than its type.
pub(super) fn digits(array: &dyn arrow::array::Array) -> Result<()> {
    match array.data_type() {
        DataType::Decimal128(precision, _) => {
            array.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision)?;
        }
        DataType::Decimal256(precision, _) => {
            array.as_primitive::<Decimal256Type>().validate_decimal_precision(*precision)?;
        }
        _ => {}
    }
    Ok(())
}

/// The days between dates that count milliseconds: the one difference that DataFusion takes unchecked.
fn days(left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    let whole = |value: &ColumnarValue| Ok::<_, DataFusionError>(cast(&value.to_array(rows)?, &DataType::Int64)?);
    let apart = numeric::sub(&whole(left)?, &whole(right)?)?;
    Ok(ColumnarValue::Array(numeric::div(&apart, &Int64Array::new_scalar(DAY))?))
}

/// `of` an array, or of the one value of a scalar.
fn each(value: &ColumnarValue, of: impl Fn(&dyn arrow::array::Array) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(of(array)?)),
        ColumnarValue::Scalar(scalar) => {
            let one = of(&scalar.to_array()?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
        }
    }
}
