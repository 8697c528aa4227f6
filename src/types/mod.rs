//! SQL types and their Arrow counterparts. It knows no text format.
//!
//! | file | idea |
//! |---|---|
//! | `mod` | [`SqlType`]: what a column is declared as |
//! | `arrow` | the Arrow type that holds its values in memory, and back |
//! | `decimal` | exact arithmetic on single decimals |
//! | `transcendental` | roots, powers and logarithms of decimals |
//! | `assignment` | which types can be assigned to which |
//! | `calendar` | days and months of the proleptic Gregorian calendar |
//! | `zone`, `zone_abbreviations` | time zones as Postgres names them |
//! | `keys` | equal values with equal bytes: one zero, one NaN, one form of an interval |
//!
//! How values are written and read as Postgres does it is the room [`crate::pgtypes`].

use std::fmt;

pub(crate) mod arrow;
pub(crate) mod assignment;
pub(crate) mod calendar;
pub(crate) mod decimal;
mod keys;
pub(crate) mod transcendental;
pub(crate) mod zone;
mod zone_abbreviations;

pub use arrow::{TYPE_KEY, WIDE_NUMERIC, is_free_numeric};
pub use keys::{looks_differ, normalised, with_equal_floats};
pub use zone::Zone;

/// A column's type as SQL names it.
///
/// In memory a value is an Arrow value: BOOLEAN Boolean; SMALLINT/INT/BIGINT Int16/32/64;
/// REAL/DOUBLE Float32/64; DECIMAL(p,s) Decimal128(p,s), DECIMAL without (p,s) Decimal256(76,38)
/// with metadata so that output drops trailing zeros; TEXT, VARCHAR(n), CHAR(n) Utf8, the last without
/// the blanks at its end, which output puts there; BYTEA Binary;
/// DATE Date32; TIME Time64(µs); TIMESTAMP(p) Timestamp(µs, None) (p ≤ 6; ns for 7–9);
/// TIMESTAMPTZ(p) the same with time zone "UTC"; INTERVAL Interval(MonthDayNano); UUID
/// FixedSizeBinary(16); JSON and JSONB Utf8 with metadata; arrays List; ROW/STRUCT Struct. What
/// Arrow's type does not tell is in the field's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub enum SqlType {
    Boolean,
    SmallInt,
    Int,
    BigInt,
    Real,
    Double,
    /// Precision and scale; None: NUMERIC without them, and so is what was computed with a
    /// precision of [`WIDE_NUMERIC`].
    Decimal(Option<(u8, i8)>),
    /// TEXT, STRING.
    Text,
    /// VARCHAR(n), and without a length.
    Varchar(Option<u32>),
    /// CHAR(n), whose blanks at the end are not in memory. Without a length they are: it is what values of
    /// several lengths have together.
    Bpchar(Option<u32>),
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
    /// As Postgres's `format_type` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            SqlType::Boolean => "boolean",
            SqlType::SmallInt => "smallint",
            SqlType::Int => "integer",
            SqlType::BigInt => "bigint",
            SqlType::Real => "real",
            SqlType::Double => "double precision",
            SqlType::Decimal(None | Some((WIDE_NUMERIC, _))) => "numeric",
            SqlType::Decimal(Some((p, s))) => return write!(f, "numeric({p},{s})"),
            SqlType::Text => "text",
            SqlType::Varchar(None) => "character varying",
            SqlType::Varchar(Some(n)) => return write!(f, "character varying({n})"),
            SqlType::Bpchar(None) => "character",
            SqlType::Bpchar(Some(n)) => return write!(f, "character({n})"),
            SqlType::Bytea => "bytea",
            SqlType::Date => "date",
            SqlType::Time => "time without time zone",
            SqlType::Timestamp(6) => "timestamp without time zone",
            SqlType::Timestamp(p) => return write!(f, "timestamp({p}) without time zone"),
            SqlType::TimestampTz(6) => "timestamp with time zone",
            SqlType::TimestampTz(p) => return write!(f, "timestamp({p}) with time zone"),
            SqlType::Interval => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Json => "json",
            SqlType::Jsonb => "jsonb",
            SqlType::Array(_) => return write!(f, "{}[]", self.innermost()),
            SqlType::Row(_) => "record",
            SqlType::Name => "name",
            SqlType::Oid => "oid",
            SqlType::Char => "\"char\"",
            SqlType::Unknown => "unknown",
        };
        f.write_str(name)
    }
}

impl SqlType {
    /// The element type of an array of any number of dimensions; any other type is its own.
    pub fn innermost(&self) -> &SqlType {
        let mut inner = self;
        while let SqlType::Array(element) = inner {
            inner = element;
        }
        inner
    }

    /// VARCHAR and CHAR without a length; any other type is its own.
    pub fn without_length(&self) -> SqlType {
        match self {
            SqlType::Varchar(_) => SqlType::Varchar(None),
            SqlType::Bpchar(_) => SqlType::Bpchar(None),
            other => other.clone(),
        }
    }

    /// The type as one would declare it: like `Display`, but with a ROW's fields and an array's
    /// dimensions spelled out, so that it can be parsed again.
    pub fn declaration(&self) -> String {
        match self {
            SqlType::Array(element) => format!("{}[]", element.declaration()),
            SqlType::Row(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(n, t)| format!("{} {}", quote_name(n), t.declaration()))
                    .collect();
                format!("ROW({})", fields.join(", "))
            }
            SqlType::Unknown => "text".to_owned(),
            // `character` is that of one character.
            SqlType::Bpchar(None) => "bpchar".to_owned(),
            simple => simple.to_string(),
        }
    }

    /// As [`Self::declaration`], for a cast in a text that is read again: there a ROW type is one quoted
    /// name, since sqlparser's Postgres dialect knows no fields of a type in an expression.
    pub fn in_cast(&self) -> String {
        match self {
            SqlType::Array(element) => format!("{}[]", element.in_cast()),
            SqlType::Row(_) => format!("\"{}\"", self.declaration().replace('"', "\"\"")),
            simple => simple.declaration(),
        }
    }
}

/// A name as it must be written in SQL: quoted when folding to lower case would change it.
pub fn quote_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_postgres_names_them() {
        let check = |sql_type: SqlType, expect: &str| assert_eq!(sql_type.to_string(), expect);
        check(SqlType::BigInt, "bigint");
        check(SqlType::Decimal(Some((10, 2))), "numeric(10,2)");
        check(SqlType::Decimal(Some((WIDE_NUMERIC, 38))), "numeric");
        check(SqlType::Timestamp(6), "timestamp without time zone");
        check(SqlType::TimestampTz(3), "timestamp(3) with time zone");
        check(SqlType::Varchar(Some(10)), "character varying(10)");
        check(SqlType::Bpchar(Some(3)), "character(3)");
        check(SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Text)))), "text[]");
        check(SqlType::Char, "\"char\"");
    }

    #[test]
    fn a_declaration_spells_out_rows_and_dimensions() {
        let row = SqlType::Row(vec![
            ("a".into(), SqlType::Int),
            ("B c".into(), SqlType::Varchar(Some(3))),
        ]);
        let nested = SqlType::Array(Box::new(SqlType::Array(Box::new(row))));
        assert_eq!(nested.declaration(), "ROW(a integer, \"B c\" character varying(3))[][]");
    }
}
