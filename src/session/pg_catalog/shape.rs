//! A system table in a few lines: its columns as text, its rows as cells.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};

use crate::error::{Error, Result};
use crate::pgtypes::values::ColumnBuilder;
use crate::types::SqlType;

/// Microseconds from 1970 to 2000, where Postgres's timestamps begin.
const EPOCH: i64 = 946_684_800_000_000;

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum SystemValue {
    Null,
    Text(String),
    Bytes(Vec<u8>),
    /// A timestamp, µs since 1970; the ends of i64 are ±infinity.
    Micros(i64),
}

impl From<&str> for SystemValue {
    fn from(value: &str) -> SystemValue {
        SystemValue::Text(value.to_owned())
    }
}

impl From<String> for SystemValue {
    fn from(value: String) -> SystemValue {
        SystemValue::Text(value)
    }
}

impl From<bool> for SystemValue {
    fn from(value: bool) -> SystemValue {
        SystemValue::Text(if value { "true" } else { "false" }.to_owned())
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(impl From<$number> for SystemValue {
        fn from(value: $number) -> SystemValue {
            SystemValue::Text(value.to_string())
        }
    })* };
}
numbers!(i16 i32 u32 i64 u64 usize f64);

impl<T: Into<SystemValue>> From<Option<T>> for SystemValue {
    fn from(value: Option<T>) -> SystemValue {
        value.map_or(SystemValue::Null, Into::into)
    }
}

/// A row of cells.
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::session::pg_catalog::shape::SystemValue::from($value)),*] };
}
pub(crate) use row;

/// Columns written as `name:type name:type …`.
#[derive(Debug)]
pub(crate) struct TableColumns(Vec<(String, SqlType)>);

impl TableColumns {
    /// Reads the columns; a type that is not known is a mistake of ours.
    pub(crate) fn new(columns: &str) -> Result<TableColumns> {
        let read = |column: &str| -> Result<(String, SqlType)> {
            let (name, sql_type) = column
                .split_once(':')
                .ok_or_else(|| Error::internal(format!("column {column} has no type")))?;
            Ok((name.to_owned(), of_name(sql_type)?))
        };
        columns.split_whitespace().map(read).collect::<Result<Vec<_>>>().map(TableColumns)
    }

    /// Names and types, for COPY; any of them may be NULL.
    pub(crate) fn columns(self) -> Vec<(String, SqlType, bool)> {
        self.0.into_iter().map(|(name, sql_type)| (name, sql_type, false)).collect()
    }

    /// The columns as Arrow has them.
    pub(crate) fn schema(&self) -> SchemaRef {
        let fields = self.0.iter().map(|(name, sql_type)| sql_type.to_field(name, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The table with these rows.
    pub(crate) fn table(self, rows: Vec<Vec<SystemValue>>) -> Result<Arc<dyn TableProvider>> {
        let batch = self.batch(rows)?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }

    /// These rows. One that is shorter than the columns is NULL in the others.
    pub(crate) fn batch(&self, rows: Vec<Vec<SystemValue>>) -> Result<RecordBatch> {
        let schema = self.schema();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.0.len());
        for (at, (_, sql_type)) in self.0.iter().enumerate() {
            let mut column = ColumnBuilder::new(sql_type, rows.len());
            for row in &rows {
                match row.get(at) {
                    None | Some(SystemValue::Null) => column.append_null(),
                    Some(SystemValue::Text(text)) => column.append_text(text.as_bytes())?,
                    Some(SystemValue::Bytes(bytes)) => column.append_binary(bytes)?,
                    Some(SystemValue::Micros(infinite @ (i64::MIN | i64::MAX))) => {
                        column.append_binary(&infinite.to_be_bytes())?;
                    }
                    Some(SystemValue::Micros(micros)) => {
                        column.append_binary(&micros.saturating_sub(EPOCH).to_be_bytes())?;
                    }
                }
            }
            columns.push(column.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

fn of_name(name: &str) -> Result<SqlType> {
    if let Some(element) = name.strip_suffix("[]") {
        return Ok(SqlType::Array(Box::new(of_name(element)?)));
    }
    Ok(match name {
        "bool" => SqlType::Boolean,
        "int2" => SqlType::SmallInt,
        "int4" => SqlType::Int,
        "int8" => SqlType::BigInt,
        "float4" => SqlType::Real,
        "float8" => SqlType::Double,
        "oid" => SqlType::Oid,
        "name" => SqlType::Name,
        "char" => SqlType::Char,
        "text" => SqlType::Text,
        "bytea" => SqlType::Bytea,
        "jsonb" => SqlType::Jsonb,
        "timestamp" => SqlType::Timestamp(6),
        "timestamptz" => SqlType::TimestampTz(6),
        other => {
            return Err(Error::internal(format!("a system table has a column of type {other}")));
        }
    })
}
