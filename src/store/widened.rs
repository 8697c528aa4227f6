//! NUMERIC without precision as it was stored in data directories up to format 3: 28 digits before the point
//! and 10 behind it.
//!
//! Its columns are told by their tag. What a query computed in 76 digits has none, and was then as it is now.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::error::Result;

/// How such a column is told: a field's metadata as `types` writes it, which is above this room.
const TAG: (&str, &str) = ("tidemill.type", "numeric");

const BEFORE: DataType = DataType::Decimal128(38, 10);
const NOW: DataType = DataType::Decimal256(76, 38);

/// A field whose numerics, also those within arrays and rows, are of another type; None: it has none.
fn with(field: &Field, from: &DataType, to: &DataType) -> Option<Field> {
    let inner = |inner: &FieldRef| with(inner, from, to).map(Arc::new);
    let changed = match field.data_type() {
        DataType::List(item) => DataType::List(inner(item)?),
        DataType::Struct(fields) => {
            let changed: Vec<_> = fields.iter().map(|field| (field, inner(field))).collect();
            if changed.iter().all(|(_, changed)| changed.is_none()) {
                return None;
            }
            let either = |(field, changed): (&FieldRef, Option<FieldRef>)| {
                changed.unwrap_or_else(|| Arc::clone(field))
            };
            DataType::Struct(changed.into_iter().map(either).collect())
        }
        of if of == from && field.metadata().get(TAG.0).is_some_and(|tag| tag == TAG.1) => {
            to.clone()
        }
        _ => return None,
    };
    Some(field.clone().with_data_type(changed))
}

fn schema_with(schema: &Schema, from: &DataType, to: &DataType) -> Option<Schema> {
    let mut is_changed = false;
    let field = |field: &FieldRef| match with(field, from, to) {
        Some(changed) => {
            is_changed = true;
            Arc::new(changed)
        }
        None => Arc::clone(field),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(field).collect();
    is_changed.then(|| Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// What a schema that was stored then is now.
pub(super) fn now(schema: &Schema) -> Schema {
    schema_with(schema, &BEFORE, &NOW).unwrap_or_else(|| schema.clone())
}

/// What a schema was then, if that is something else.
pub(super) fn before(schema: &Schema) -> Option<SchemaRef> {
    schema_with(schema, &NOW, &BEFORE).map(Arc::new)
}

/// Rows that were stored then, all columns of the schema or some.
pub(super) fn batch(
    stored: &RecordBatch,
    schema: &SchemaRef,
    columns: Option<&[usize]>,
) -> Result<RecordBatch> {
    let schema = match columns {
        Some(columns) => Arc::new(schema.project(columns)?),
        None => Arc::clone(schema),
    };
    let mut columns = Vec::with_capacity(stored.num_columns());
    for (column, field) in stored.columns().iter().zip(schema.fields()) {
        columns.push(cast(column, field.data_type())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(stored.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array, ListArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Decimal256Type;

    use super::super::codec::{ValueReader, ValueWriter};
    use super::*;
    use crate::types::SqlType;

    const VERSION: u8 = 9;

    /// A value as it was written then.
    fn stored_before(rows: &RecordBatch, with_schema: bool) -> bytes::Bytes {
        let mut value = ValueWriter::new(VERSION);
        if with_schema {
            value.schema(&rows.schema());
        }
        value.batch(rows).unwrap();
        let mut value = value.finish().to_vec();
        let sum = crc32fast::hash(&value[8..]);
        value[1] = 0;
        value[4..8].copy_from_slice(&sum.to_le_bytes());
        value.into()
    }

    #[test]
    fn numerics_of_before_are_read_and_others_stay_as_they_are() {
        let numeric = SqlType::Decimal(None);
        let fields = vec![
            numeric.to_field("free", true),
            Field::new("plain", BEFORE, true),
            SqlType::Array(Box::new(numeric)).to_field("list", true),
            Field::new("n", DataType::Int32, true),
        ];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let then = before(&schema).unwrap();
        assert_eq!(now(&then), *schema);
        let numbers = Decimal128Array::from(vec![Some(15_000_000_000), None]);
        let numbers: ArrayRef = Arc::new(numbers.with_data_type(BEFORE));
        let DataType::List(item) = then.field(2).data_type() else { panic!() };
        let list = ListArray::new(
            Arc::clone(item),
            OffsetBuffer::from_lengths([2, 0]),
            Arc::clone(&numbers),
            None,
        );
        let columns: Vec<ArrayRef> = vec![
            Arc::clone(&numbers),
            numbers,
            Arc::new(list),
            Arc::new(Int32Array::from(vec![1, 2])),
        ];
        let rows = RecordBatch::try_new(then, columns).unwrap();
        let mut value = ValueReader::open(stored_before(&rows, true), VERSION).unwrap();
        let read = value.schema().unwrap();
        assert_eq!(read, schema);
        let all = value.batch(&schema, None).unwrap();
        assert_eq!((all.num_rows(), all.schema()), (2, Arc::clone(&schema)));
        let wide = |column: &ArrayRef| column.as_primitive::<Decimal256Type>().value(0).to_string();
        assert_eq!(wide(all.column(0)), format!("15{}", "0".repeat(37)));
        assert_eq!(wide(all.column(2).as_list::<i32>().values()), format!("15{}", "0".repeat(37)));
        assert_eq!(all.column(1), rows.column(1));
        let mut value = ValueReader::open(stored_before(&rows, false), VERSION).unwrap();
        let some = value.batch(&schema, Some(&[0, 3])).unwrap();
        assert_eq!((some.num_columns(), some.column(0)), (2, all.column(0)));
        assert!(some.column(0).is_null(1));
    }
}
