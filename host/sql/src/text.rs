//! `text(bytes)`: bytes as text whatever they are, so that one value that is not UTF-8 does not fail a query, as `cast` does.

use std::sync::Arc;

use arrow::{
    array::{AsArray as _, StringViewArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{Result, internal_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// The function; what is not UTF-8 becomes `�`.
pub(super) fn text() -> ScalarUDF {
    ScalarUDF::new_from_impl(Text { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    signature: Signature,
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        "text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        match kinds {
            [kind] if kind.is_string() || kind.is_binary() || kind.is_null() => Ok(DataType::Utf8View),
            [kind] => plan_err!("`text` takes bytes, as in `text(value)`, and not {kind}; write `cast(… as varchar)`"),
            _ => plan_err!("`text` takes one argument, as in `text(value)`"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return internal_err!("`text` takes one argument") };
        let value = value.to_array(args.number_rows)?;
        if value.data_type().is_string() {
            return Ok(ColumnarValue::Array(cast(&value, &DataType::Utf8View)?));
        }
        let bytes = cast(&value, &DataType::LargeBinary)?;
        let texts = bytes.as_binary::<i64>().iter().map(|bytes| bytes.map(String::from_utf8_lossy));
        Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringViewArray>())))
    }
}
