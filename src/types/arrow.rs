//! Where SQL types meet Arrow types.
//!
//! One direction is a choice ([`SqlType::data_type`]): each SQL type has one Arrow type that holds
//! it. The other is total ([`SqlType::from_field`]): whatever a DataFusion plan may produce is
//! shown to clients as some SQL type. What an Arrow type does not tell (that this text is JSON,
//! that this microsecond timestamp has 3 digits) stands in the field's metadata under [`TYPE_KEY`].
//! Metadata travels through casts, so it counts only where it fits the Arrow type beside it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};

use super::SqlType;

/// The metadata key of what an Arrow type does not tell about the SQL type.
pub const TYPE_KEY: &str = "tidemill.type";

/// The precision of NUMERIC without precision, and of what is computed with more digits than 38. Nothing
/// is declared with it; such a number shows no more decimals than it has.
pub const WIDE_NUMERIC: u8 = 76;

/// NUMERIC without precision: 38 digits on either side of the point.
pub(crate) const FREE_NUMERIC: (u8, i8) = (WIDE_NUMERIC, 38);

/// The tag of NUMERIC without precision as it is declared; what is computed has none. What is stored depends
/// on it (`store/widened.rs`).
const NUMERIC_TAG: &str = "numeric";

/// Whether a number of that type shows no more decimals than it has, as a NUMERIC without
/// precision.
pub fn is_free_numeric(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal256(WIDE_NUMERIC, _))
}

impl SqlType {
    /// The Arrow type that holds the values.
    pub fn data_type(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Int => DataType::Int32,
            SqlType::BigInt | SqlType::Oid => DataType::Int64,
            SqlType::Real => DataType::Float32,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal(None) => DataType::Decimal256(FREE_NUMERIC.0, FREE_NUMERIC.1),
            SqlType::Decimal(Some((p, s))) if *p > 38 => DataType::Decimal256(*p, *s),
            SqlType::Decimal(Some((p, s))) => DataType::Decimal128(*p, *s),
            SqlType::Text | SqlType::Varchar(_) | SqlType::Bpchar(_) => DataType::Utf8,
            SqlType::Json | SqlType::Jsonb => DataType::Utf8,
            SqlType::Name | SqlType::Char | SqlType::Unknown => DataType::Utf8,
            SqlType::Bytea => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp(p) => DataType::Timestamp(unit_of(*p), None),
            SqlType::TimestampTz(p) => DataType::Timestamp(unit_of(*p), Some("UTC".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Array(element) => {
                DataType::List(Arc::new(element.to_field(Field::LIST_FIELD_DEFAULT_NAME, true)))
            }
            SqlType::Row(fields) => DataType::Struct(
                fields.iter().map(|(name, t)| t.to_field(name, true)).collect::<Fields>(),
            ),
        }
    }

    /// An Arrow field of this type, with the metadata that lets [`from_field`](Self::from_field)
    /// find it again.
    pub fn to_field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.data_type(), nullable);
        match self.tag() {
            Some(tag) => field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), tag)])),
            None => field,
        }
    }

    /// The field of a cast to this type. Where a type has no metadata of its own, what is cast
    /// would keep its: JSON that is cast to text would be JSON still.
    pub fn to_cast_field(&self) -> Field {
        let field = self.to_field("", true);
        match self {
            SqlType::Text | SqlType::Timestamp(_) | SqlType::TimestampTz(_)
                if field.metadata().is_empty() =>
            {
                field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), PLAIN.to_owned())]))
            }
            _ => field,
        }
    }

    /// What the metadata says, where the Arrow type does not.
    fn tag(&self) -> Option<String> {
        match self {
            SqlType::Json => Some("json".to_owned()),
            SqlType::Jsonb => Some("jsonb".to_owned()),
            SqlType::Varchar(None) => Some("varchar".to_owned()),
            SqlType::Varchar(Some(n)) => Some(format!("varchar({n})")),
            SqlType::Bpchar(None) => Some("bpchar".to_owned()),
            SqlType::Bpchar(Some(n)) => Some(format!("bpchar({n})")),
            SqlType::Timestamp(p) if ![6, 9].contains(p) => Some(format!("timestamp({p})")),
            SqlType::TimestampTz(p) if ![6, 9].contains(p) => Some(format!("timestamptz({p})")),
            SqlType::Decimal(None) => Some(NUMERIC_TAG.to_owned()),
            SqlType::Name => Some("name".to_owned()),
            SqlType::Oid => Some("oid".to_owned()),
            SqlType::Char => Some("\"char\"".to_owned()),
            SqlType::Unknown => Some("unknown".to_owned()),
            _ => None,
        }
    }

    /// The SQL type of an Arrow field, whatever it is: the nearest one for what SQL has no type
    /// for.
    pub fn from_field(field: &Field) -> SqlType {
        let tagged =
            field.metadata().get(TYPE_KEY).and_then(|tag| from_tag(tag, field.data_type()));
        tagged.unwrap_or_else(|| from_data_type(field.data_type()))
    }
}

/// Metadata of what is no more than the Arrow type says.
const PLAIN: &str = "plain";

fn unit_of(precision: u8) -> TimeUnit {
    if precision > 6 { TimeUnit::Nanosecond } else { TimeUnit::Microsecond }
}

/// The type a tag names, if the Arrow type can hold it.
fn from_tag(tag: &str, data_type: &DataType) -> Option<SqlType> {
    let (name, argument) = match tag.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')?.parse::<u32>().ok()),
        None => (tag, None),
    };
    let text = is_text(data_type);
    let precision = argument.and_then(|p| u8::try_from(p).ok()).filter(|p| *p <= 9);
    let fits = |p: u8| matches!(data_type, DataType::Timestamp(unit, _) if *unit == unit_of(p));
    match (name, argument) {
        ("json", None) if text => Some(SqlType::Json),
        ("jsonb", None) if text => Some(SqlType::Jsonb),
        ("name", None) if text => Some(SqlType::Name),
        ("\"char\"", None) if text => Some(SqlType::Char),
        ("unknown", None) if text => Some(SqlType::Unknown),
        ("varchar", length) if text => Some(SqlType::Varchar(length)),
        ("bpchar", length) if text => Some(SqlType::Bpchar(length)),
        ("oid", None) if data_type.is_integer() => Some(SqlType::Oid),
        ("timestamp", Some(_)) if matches!(data_type, DataType::Timestamp(_, None)) => {
            precision.filter(|p| fits(*p)).map(SqlType::Timestamp)
        }
        ("timestamptz", Some(_)) if matches!(data_type, DataType::Timestamp(_, Some(_))) => {
            precision.filter(|p| fits(*p)).map(SqlType::TimestampTz)
        }
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        DataType::RunEndEncoded(_, values) => is_text(values.data_type()),
        other => other.is_string(),
    }
}

fn from_data_type(data_type: &DataType) -> SqlType {
    let list = |field: &FieldRef| SqlType::Array(Box::new(SqlType::from_field(field)));
    match data_type {
        DataType::Null => SqlType::Unknown,
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => SqlType::SmallInt,
        DataType::Int32 | DataType::UInt16 => SqlType::Int,
        // row_number() and its like count in 64 bits without a sign; to Postgres they are bigint.
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => SqlType::BigInt,
        DataType::Float16 | DataType::Float32 => SqlType::Real,
        DataType::Float64 => SqlType::Double,
        DataType::Decimal256(p, s) if (*p, *s) == FREE_NUMERIC => SqlType::Decimal(None),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => SqlType::Decimal(Some((*p, *s))),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Text,
        DataType::FixedSizeBinary(16) => SqlType::Uuid,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => SqlType::Bytea,
        DataType::Date32 => SqlType::Date,
        // Milliseconds since 1970: a time of day may be in it.
        DataType::Date64 => SqlType::Timestamp(3),
        DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
        DataType::Timestamp(unit, None) => SqlType::Timestamp(digits_of(unit)),
        DataType::Timestamp(unit, Some(_)) => SqlType::TimestampTz(digits_of(unit)),
        DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => list(field),
        DataType::Struct(fields) => SqlType::Row(
            fields.iter().map(|f| (f.name().clone(), SqlType::from_field(f))).collect(),
        ),
        DataType::Map(_, _) => SqlType::Jsonb,
        DataType::Dictionary(_, values) => from_data_type(values),
        DataType::RunEndEncoded(_, values) => SqlType::from_field(values),
        DataType::Union(_, _) => SqlType::Text,
    }
}

fn digits_of(unit: &TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_way_through_an_arrow_field() {
        let row = SqlType::Row(vec![
            ("a".into(), SqlType::Jsonb),
            ("b".into(), SqlType::Varchar(Some(4))),
        ]);
        let all = [
            SqlType::Boolean,
            SqlType::SmallInt,
            SqlType::Decimal(None),
            SqlType::Decimal(Some((38, 10))),
            SqlType::Decimal(Some((50, 2))),
            SqlType::Text,
            SqlType::Varchar(Some(7)),
            SqlType::Varchar(None),
            SqlType::Bpchar(Some(3)),
            SqlType::Bpchar(None),
            SqlType::Timestamp(3),
            SqlType::Timestamp(6),
            SqlType::Timestamp(9),
            SqlType::TimestampTz(0),
            SqlType::TimestampTz(7),
            SqlType::Uuid,
            SqlType::Json,
            SqlType::Name,
            SqlType::Oid,
            SqlType::Char,
            SqlType::Unknown,
            SqlType::Array(Box::new(SqlType::Array(Box::new(row)))),
        ];
        for sql_type in all {
            assert_eq!(SqlType::from_field(&sql_type.to_field("c", true)), sql_type);
        }
    }

    #[test]
    fn a_tag_that_a_cast_left_behind_does_not_count() {
        let cast =
            SqlType::Decimal(None).to_field("c", true).with_data_type(DataType::Decimal128(10, 2));
        assert_eq!(SqlType::from_field(&cast), SqlType::Decimal(Some((10, 2))));
        let cast = SqlType::Json.to_field("c", true).with_data_type(DataType::Int32);
        assert_eq!(SqlType::from_field(&cast), SqlType::Int);
    }

    #[test]
    fn a_result_of_arithmetic_with_free_numerics_is_free() {
        let (p, s) = FREE_NUMERIC;
        let result = Field::new("c", DataType::Decimal256(p, s), true);
        assert_eq!(SqlType::from_field(&result), SqlType::Decimal(None));
        let other = Field::new("c", DataType::Decimal128(38, 16), true);
        assert_eq!(SqlType::from_field(&other), SqlType::Decimal(Some((38, 16))));
    }
}
