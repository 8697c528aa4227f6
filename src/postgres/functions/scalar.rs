//! A scalar function in a few lines: a name, which types come in and which goes out, and a loop
//! over columns.

use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::collect::scalar_at;

use crate::postgres::by_name::by_name;

/// A function over columns of equal length.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) name: &'static str,
    pub(crate) aliases: Vec<String>,
    pub(crate) signature: Signature,
    pub(crate) out: DataType,
    /// Gets the number of rows too, for functions without arguments.
    pub(crate) call: fn(&[ArrayRef], usize) -> crate::error::Result<ArrayRef>,
}

by_name!(Scalar);

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.out.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, args.number_rows, |columns, rows| Ok((self.call)(columns, rows)?))
    }
}

/// What `call` makes of the arguments as columns of so many rows. Of constants alone it is a
/// constant: one row.
pub(crate) fn over_columns(
    args: &[ColumnarValue],
    rows: usize,
    call: impl FnOnce(&[ArrayRef], usize) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { rows };
    let columns = args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
    let result = call(&columns, rows)?;
    Ok(if is_scalar {
        ColumnarValue::Scalar(scalar_at(&result, 0)?)
    } else {
        ColumnarValue::Array(result)
    })
}

/// For a function that is `$inner` but for its result: what is the same.
macro_rules! as_inner {
    ($inner:ident) => {
        fn name(&self) -> &str {
            self.$inner.name()
        }

        fn aliases(&self) -> &[String] {
            self.$inner.aliases()
        }

        fn signature(&self) -> &Signature {
            self.$inner.signature()
        }

        fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
            self.$inner.coerce_types(types)
        }
    };
}

/// DataFusion's function, called only after `check` has found that the result will not be too
/// large.
#[derive(Debug)]
pub(crate) struct Bounded {
    pub(crate) inner: ScalarUDF,
    pub(crate) check: fn(&[ColumnarValue], usize) -> crate::error::Result<()>,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    as_inner!(inner);

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.check)(&args.args, args.number_rows)?;
        self.inner.invoke_with_args(args)
    }
}

/// A column of text, whatever kind of text it is.
pub(crate) fn strings(array: &ArrayRef) -> crate::error::Result<StringArray> {
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// A column of whole numbers.
pub(crate) fn integers(array: &ArrayRef) -> crate::error::Result<arrow::array::Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The value at a row, unless it is NULL; one that is alone stands for all rows.
pub(crate) fn text(array: &StringArray, row: usize) -> Option<&str> {
    let row = if array.len() == 1 { 0 } else { row };
    array.is_valid(row).then(|| array.value(row))
}
