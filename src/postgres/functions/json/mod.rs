//! JSON and JSONB (Postgres manual, 8.14 and 9.16).
//!
//! | file | idea |
//! |---|---|
//! | `make` | JSON made of values |
//! | `shape` | one level of a text: members and elements as they are written |
//! | `edit` | JSONB with something put in or taken out |
//! | `columns` | what comes out of a row, as a column |
//! | `table` | the functions, each a row |
//!
//! A function is a row of [`FUNCTIONS`], once for JSON and once for JSONB: what it takes, what it gives,
//! and what it makes of one row. Operators are planned as such functions
//! ([`Binary`](crate::postgres::coercion::binary)), and functions of sets are arrays that UNNEST takes
//! apart. All give NULL for NULL.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, StringArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use self::columns::collected;
pub(super) use self::make::in_zone;
use self::shape::JsonShape;
use self::table::Takes::{self, Boolean, Key, Text, Texts, Value};
use self::table::{FUNCTIONS, Gives, JsonGiven, JsonRow};
use super::collect::scalar_at;
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::normal_json;
use crate::postgres::by_name::by_name;
use crate::types::SqlType;

mod columns;
mod edit;
mod make;
mod shape;
mod table;

pub(super) fn all() -> Vec<ScalarUDF> {
    NAMED.values().map(|function| function.as_ref().clone()).chain(make::all()).collect()
}

static NAMED: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let families = [SqlType::Json, SqlType::Jsonb];
    let functions = families.iter().flat_map(|family| {
        let has = |row: &&JsonRow| row.is_of_both || *family == SqlType::Jsonb;
        FUNCTIONS.iter().filter(has).map(move |row| JsonFunction {
            name: format!("{family}_{}", row.name),
            family: family.clone(),
            row,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    });
    functions.map(|one| (one.name.clone(), Arc::new(ScalarUDF::from(one)))).collect()
});

/// A function by its family, `json` or `jsonb`, and the name behind it.
pub(crate) fn function(family: &str, name: &str) -> Result<Arc<ScalarUDF>> {
    let name = format!("{family}_{name}");
    let function = NAMED.get(&name).cloned();
    function.ok_or_else(|| Error::internal(format!("no function {name}")))
}

/// The same value as JSONB, which it is known to be.
pub(crate) fn as_jsonb(value: Expr) -> Result<Expr> {
    Ok(function("jsonb", "as_is")?.call(vec![value]))
}

/// Whether a function does no more than that, for JSON or JSONB.
pub(crate) fn is_as_json(function: &ScalarUDF) -> bool {
    function.name().ends_with("_as_is") && function.inner().is::<JsonFunction>()
}

/// What is in the order of JSONB values where the values themselves are not.
pub(crate) fn order(value: Expr) -> Result<Expr> {
    Ok(function("jsonb", "order")?.call(vec![value]))
}

#[derive(Debug)]
struct JsonFunction {
    name: String,
    family: SqlType,
    row: &'static JsonRow,
    signature: Signature,
}

by_name!(JsonFunction);

impl JsonFunction {
    fn undefined(&self, given: &[SqlType]) -> Error {
        let given: Vec<String> = given.iter().map(SqlType::to_string).collect();
        let message = format!("function {}({}) does not exist", self.name, given.join(", "));
        Error::new(SqlState::UndefinedFunction, message)
            .hint("No function matches the given name and argument types; a cast may help.")
    }

    /// What the argument at a place is; the last one may stand for all behind it.
    fn takes(&self, at: usize) -> Option<Takes> {
        let last = self.row.takes.last().filter(|_| self.row.name.starts_with("extract_path"));
        self.row.takes.get(at).or(last).copied()
    }

    /// The type in which an argument is given to the function.
    fn coerced(&self, at: usize, of: &DataType) -> Option<DataType> {
        let is_text = of.is_string() || of.is_null();
        let texts = || DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        match self.takes(at)? {
            Value | Text if is_text => Some(DataType::Utf8),
            Key if of.is_integer() => Some(DataType::Int64),
            Key if is_text => Some(DataType::Utf8),
            Boolean if is_text || *of == DataType::Boolean => Some(DataType::Boolean),
            Texts => match of {
                DataType::List(item) => match item.data_type() {
                    DataType::List(_) => {
                        Some(DataType::List(Arc::new(Field::new_list_field(texts(), true))))
                    }
                    of if of.is_string() || of.is_null() => Some(texts()),
                    _ => None,
                },
                // Behind the value of extract_path there are as many as one likes.
                of if of.is_string() && self.row.name.starts_with("extract_path") => {
                    Some(DataType::Utf8)
                }
                _ if is_text => Some(texts()),
                _ => None,
            },
            _ => None,
        }
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let coerced: Option<Vec<DataType>> =
            types.iter().enumerate().map(|(at, of)| self.coerced(at, of)).collect();
        coerced.filter(|types| types.len() >= self.row.least).ok_or_else(|| {
            let given = types.iter().map(|of| Field::new("", of.clone(), true));
            let given: Vec<SqlType> = given.map(|field| SqlType::from_field(&field)).collect();
            self.undefined(&given).into()
        })
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.out().data_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let given: Vec<SqlType> =
            args.arg_fields.iter().map(|field| SqlType::from_field(field)).collect();
        let is_other = |(at, of): (usize, &SqlType)| {
            let is_json = matches!(of, SqlType::Json | SqlType::Jsonb);
            self.takes(at) == Some(Value) && is_json && *of != self.family
        };
        if given.iter().enumerate().any(is_other) {
            return Err(self.undefined(&given).into());
        }
        Ok(Arc::new(self.out().to_field(&self.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let is_constant: Vec<bool> = args.args.iter().map(is_constant).collect();
        let are_constant = is_constant.iter().all(|is_constant| *is_constant);
        let rows = if are_constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(1)).collect::<DfResult<Vec<_>>>()?;
        let out = self.of_rows(columns, &is_constant, rows, &args.arg_fields)?;
        Ok(if are_constant {
            ColumnarValue::Scalar(scalar_at(&out, 0)?)
        } else {
            ColumnarValue::Array(out)
        })
    }
}

impl JsonFunction {
    fn of_rows(
        &self,
        mut columns: Vec<ArrayRef>,
        is_constant: &[bool],
        rows: usize,
        fields: &[FieldRef],
    ) -> Result<ArrayRef> {
        for (at, column) in columns.iter_mut().enumerate() {
            let is_value = self.takes(at) == Some(Value);
            if is_value && SqlType::from_field(&fields[at]) != self.family {
                *column = self.read(column)?;
            }
        }
        let mut nulls: Option<NullBuffer> = None;
        for (column, is_constant) in columns.iter().zip(is_constant) {
            if column.data_type().is_null() || *is_constant && column.is_null(0) {
                return Ok(new_null_array(&self.out().data_type(), rows));
            }
            if !is_constant {
                nulls = NullBuffer::union(nulls.as_ref(), column.nulls());
            }
        }
        let (family, is_jsonb) = (&self.family, self.family == SqlType::Jsonb);
        let one = |row: usize| {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return Ok(None);
            }
            (self.row.of)(&JsonGiven { columns: &columns, is_constant, row, family, is_jsonb })
        };
        collected((0..rows).map(one), &self.out())
    }

    fn out(&self) -> SqlType {
        let member = |value| {
            SqlType::Row(vec![("key".to_owned(), SqlType::Text), ("value".to_owned(), value)])
        };
        let array = |element| SqlType::Array(Box::new(element));
        match self.row.gives {
            Gives::Value => self.family.clone(),
            Gives::Text => SqlType::Text,
            Gives::Integer => SqlType::Int,
            Gives::Boolean => SqlType::Boolean,
            Gives::Values => array(self.family.clone()),
            Gives::Texts => array(SqlType::Text),
            Gives::Members => array(member(self.family.clone())),
            Gives::MembersAsText => array(member(SqlType::Text)),
        }
    }

    /// Texts of which it is not known that they are in the family's form.
    fn read(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let texts = super::scalar::strings(column)?;
        let read = |text: &str| match self.family {
            SqlType::Jsonb => normal_json(text),
            _ => {
                JsonShape::of(text)?;
                Ok(text.to_owned())
            }
        };
        let texts = texts.iter().map(|text| text.map(read).transpose());
        Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
    }
}
