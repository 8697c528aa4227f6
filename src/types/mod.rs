//! SQL types, and their values on the way in and out.

use std::fmt;

pub mod copy;
pub mod pg;

/// A column's type as SQL names it.
///
/// In memory a value is an Arrow value: BOOLEAN Boolean; SMALLINT/INT/BIGINT Int16/32/64; REAL/DOUBLE Float32/64;
/// DECIMAL(p,s) Decimal128(p,s), DECIMAL without (p,s) Decimal128(38,10) with metadata so that output drops trailing zeros; TEXT, VARCHAR(n), CHAR(n) Utf8;
/// BYTEA Binary; DATE Date32; TIME Time64(µs); TIMESTAMP(p) Timestamp(µs, None) (p ≤ 6; ns for 7–9); TIMESTAMPTZ(p)
/// the same with time zone "UTC"; INTERVAL Interval(MonthDayNano); UUID FixedSizeBinary(16); JSON and JSONB Utf8 with
/// metadata; arrays List; ROW/STRUCT Struct. What Arrow's type does not tell is in the field's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SqlType {
    Boolean,
    SmallInt,
    Int,
    BigInt,
    Real,
    Double,
    /// Precision and scale; None: NUMERIC without them.
    Decimal(Option<(u8, i8)>),
    /// TEXT, STRING, and VARCHAR without a length.
    Text,
    /// VARCHAR(n).
    Varchar(u32),
    Bytea,
    Date,
    /// TIME, µs.
    Time,
    /// TIMESTAMP(p).
    Timestamp(u8),
    /// TIMESTAMPTZ(p).
    TimestampTz(u8),
    Interval,
    Uuid,
    Json,
    Jsonb,
    Array(Box<SqlType>),
    /// ROW(name type, …).
    Row(Vec<(String, SqlType)>),
    /// `name`, of system catalogs (out only).
    Name,
    /// `oid`, of system catalogs (out only; Int32 or Int64 in memory).
    Oid,
    /// `"char"`, of system catalogs (out only).
    Char,
    /// A NULL without a type, text to clients.
    Unknown,
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
