//! Types, in the spellings of Postgres, Flink and RisingWave.
//!
//! Column lists are read here word by word, because sqlparser's Postgres dialect knows neither
//! STRUCT<…> nor `ROW(a int)`. Casts within expressions are read by sqlparser; [`sql_type`]
//! translates its types.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo,
};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::ident_name;
use super::reader::{Reader, parse_one};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// The digits of a DECIMAL, at the most (Arrow's Decimal128).
const DECIMAL_DIGITS: u64 = 38;

/// The digits of a fraction of a second, at the most, and those that a type without (p) has.
const TIME_DIGITS: u64 = 9;
const DEFAULT_TIME_DIGITS: u8 = 6;

/// Reads a type.
pub(super) fn read(r: &mut Reader) -> Result<SqlType> {
    let position = r.position();
    let (found, close) = read_nested(r)?;
    match close {
        0 => Ok(found),
        _ => Err(Error::new(SqlState::Syntax, "syntax error at or near \">>\"").at(position)),
    }
}

/// Reads a type; also how many closing angle brackets of outer types were read with its own (`>>`
/// is one token).
fn read_nested(r: &mut Reader) -> Result<(SqlType, usize)> {
    let (mut found, close) = if r.sees("array") && *r.peek_nth(1) == Token::Lt {
        r.next();
        r.next();
        let (element, close) = read_nested(r)?;
        (SqlType::Array(Box::new(element)), close_angle(r, close)?)
    } else if (r.sees("row") || r.sees("struct")) && *r.peek_nth(1) == Token::Lt {
        r.next();
        r.next();
        let (fields, close) = read_fields(r)?;
        (SqlType::Row(fields), close_angle(r, close)?)
    } else if (r.sees("row") || r.sees("struct")) && *r.peek_nth(1) == Token::LParen {
        r.next();
        r.next();
        let (fields, close) = read_fields(r)?;
        r.expect_token(&Token::RParen)?;
        (SqlType::Row(fields), close)
    } else {
        (read_simple(r)?, 0)
    };
    if close > 0 {
        return Ok((found, close));
    }
    loop {
        if r.eat_token(&Token::LBracket) {
            if matches!(r.peek(), Token::Number(..)) {
                r.next();
            }
            r.expect_token(&Token::RBracket)?;
        } else if !r.eat("array") {
            return Ok((found, 0));
        }
        found = array_of(found)?;
    }
}

fn array_of(element: SqlType) -> Result<SqlType> {
    Ok(SqlType::Array(Box::new(element)))
}

/// Takes the `>` of a type whose inner type has read `close` of them already.
fn close_angle(r: &mut Reader, close: usize) -> Result<usize> {
    match close {
        0 if r.eat_token(&Token::ShiftRight) => Ok(1),
        0 => r.expect_token(&Token::Gt).map(|()| 0),
        _ => Ok(close - 1),
    }
}

/// `a int, b text` and Flink's `a: int`; without names they are f1, f2, ….
fn read_fields(r: &mut Reader) -> Result<(Vec<(String, SqlType)>, usize)> {
    let mut fields = Vec::new();
    loop {
        let name = ident_name(&r.ident()?);
        r.eat_token(&Token::Colon);
        let (field, close) = read_nested(r)?;
        r.eat_all(&["not", "null"]);
        fields.push((name, field));
        if close > 0 || !r.eat_token(&Token::Comma) {
            return Ok((fields, close));
        }
    }
}

fn read_simple(r: &mut Reader) -> Result<SqlType> {
    let position = r.position();
    if r.sees_all(&["timestamp_ltz"]) {
        r.next();
        return Ok(SqlType::TimestampTz(time_digits(read_digits(r)?)?));
    }
    if r.sees("timestamp") || r.sees("timestamptz") || r.sees("time") || r.sees("timetz") {
        return read_time(r);
    }
    if !matches!(r.peek(), Token::Word(_)) {
        return Err(r.unexpected().hint("Expected a type."));
    }
    let written = r.data_type()?;
    sql_type(&written).map_err(|e| e.at(position))
}

fn read_time(r: &mut Reader) -> Result<SqlType> {
    let word = r.word()?;
    let digits = read_digits(r)?;
    let zone = if r.eat("with") {
        r.eat("local");
        r.expect("time")?;
        r.expect("zone")?;
        true
    } else {
        if r.eat("without") {
            r.expect("time")?;
            r.expect("zone")?;
        }
        word.ends_with("TZ")
    };
    match (word.starts_with("TIMESTAMP"), zone) {
        (true, true) => Ok(SqlType::TimestampTz(time_digits(digits)?)),
        (true, false) => Ok(SqlType::Timestamp(time_digits(digits)?)),
        (false, false) => time_of_day(digits),
        (false, true) => Err(time_with_zone()),
    }
}

fn read_digits(r: &mut Reader) -> Result<Option<u64>> {
    if !r.eat_token(&Token::LParen) {
        return Ok(None);
    }
    let digits = r.uint()?;
    r.expect_token(&Token::RParen)?;
    Ok(Some(digits))
}

fn time_digits(digits: Option<u64>) -> Result<u8> {
    match digits {
        None => Ok(DEFAULT_TIME_DIGITS),
        Some(digits) if digits <= TIME_DIGITS => Ok(digits as u8),
        Some(digits) => Err(Error::new(
            SqlState::BadArgument,
            format!("timestamp precision {digits} must be between 0 and {TIME_DIGITS}"),
        )),
    }
}

/// A time of day has microseconds; with fewer it would have to be rounded wherever it is written.
fn time_of_day(digits: Option<u64>) -> Result<SqlType> {
    match time_digits(digits)? {
        0..6 if digits.is_some() => Err(Error::unsupported(
            "type time with fewer digits than microseconds is not supported",
        )
        .hint("Use TIME, and date_trunc('second', …) where it is shown.")),
        _ => Ok(SqlType::Time),
    }
}

fn time_with_zone() -> Error {
    Error::unsupported("type time with time zone is not supported").hint("Use TIME or TIMESTAMPTZ.")
}

/// The type that sqlparser's type names.
pub fn sql_type(written: &DataType) -> Result<SqlType> {
    use DataType as D;
    Ok(match written {
        D::Bool | D::Boolean => SqlType::Boolean,
        D::SmallInt(_) | D::Int2(_) => SqlType::SmallInt,
        D::Int(_) | D::Integer(_) | D::Int4(_) | D::Int32 => SqlType::Int,
        D::BigInt(_) | D::Int8(_) | D::Int64 => SqlType::BigInt,
        D::Int16 => SqlType::SmallInt,
        D::Real | D::Float4 | D::Float32 => SqlType::Real,
        D::Double(_) | D::DoublePrecision | D::Float8 | D::Float64 => SqlType::Double,
        D::Float(info) => float(info)?,
        D::Numeric(info) | D::Decimal(info) | D::Dec(info) => decimal(info)?,
        D::Text | D::String(_) => SqlType::Text,
        D::Varchar(length) | D::CharacterVarying(length) | D::CharVarying(length) => {
            varchar(length)?
        }
        D::Char(length) | D::Character(length) => {
            SqlType::Bpchar(Some(characters(length, "char")?.unwrap_or(1)))
        }
        D::Bytea | D::Bytes(_) | D::Blob(_) | D::Varbinary(_) | D::Binary(_) => SqlType::Bytea,
        D::Date => SqlType::Date,
        D::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => return Err(time_with_zone()),
        D::Time(digits, _) => time_of_day(*digits)?,
        D::Timestamp(digits, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            SqlType::TimestampTz(time_digits(*digits)?)
        }
        D::Timestamp(digits, _) | D::Datetime(digits) | D::TimestampNtz(digits) => {
            SqlType::Timestamp(time_digits(*digits)?)
        }
        D::Interval { .. } => SqlType::Interval,
        D::Uuid => SqlType::Uuid,
        D::JSON => SqlType::Json,
        D::JSONB => SqlType::Jsonb,
        D::Array(
            ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => SqlType::Array(Box::new(sql_type(element)?)),
        D::Struct(fields, _) => SqlType::Row(
            fields
                .iter()
                .enumerate()
                .map(|(n, field)| {
                    let name =
                        field.field_name.as_ref().map_or_else(|| format!("f{}", n + 1), ident_name);
                    Ok((name, sql_type(&field.field_type)?))
                })
                .collect::<Result<_>>()?,
        ),
        D::Custom(name, arguments) => {
            // pg_catalog.int4 and the like: the schema says nothing more.
            let last =
                name.0.last().and_then(|part| part.as_ident()).map(ident_name).unwrap_or_default();
            custom(&last, arguments)?
        }
        D::TinyInt(_) => {
            return Err(unknown("tinyint").hint("Use SMALLINT."));
        }
        other => return Err(unknown(&other.to_string().to_lowercase())),
    })
}

fn custom(name: &str, arguments: &[String]) -> Result<SqlType> {
    if name.starts_with("ROW(") && arguments.is_empty() {
        return parse_one(name, read);
    }
    let digits = arguments.first().and_then(|a| a.trim().parse().ok());
    Ok(match name {
        "timestamp_ltz" => SqlType::TimestampTz(time_digits(digits)?),
        "timestamptz" => SqlType::TimestampTz(time_digits(digits)?),
        "timestamp" => SqlType::Timestamp(time_digits(digits)?),
        "bool" => SqlType::Boolean,
        "int2" => SqlType::SmallInt,
        "int4" => SqlType::Int,
        "int8" => SqlType::BigInt,
        "float4" => SqlType::Real,
        "float8" => SqlType::Double,
        "numeric" => SqlType::Decimal(None),
        "text" | "string" => SqlType::Text,
        "varchar" => SqlType::Varchar(None),
        "bpchar" => SqlType::Bpchar(arguments.first().and_then(|n| n.trim().parse().ok())),
        "bytes" | "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "interval" => SqlType::Interval,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        "uuid" => SqlType::Uuid,
        "name" => SqlType::Name,
        "oid" => SqlType::Oid,
        "serial" | "serial4" | "bigserial" | "serial8" | "smallserial" | "serial2" => {
            return Err(Error::unsupported(format!(
                "type \"{name}\" is not supported: there are no sequences"
            ))
            .hint("Use BIGINT, or UUID with DEFAULT gen_random_uuid()."));
        }
        other => return Err(unknown(other)),
    })
}

fn unknown(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist")).hint(
        "Types are BOOLEAN, SMALLINT, INT, BIGINT, REAL, DOUBLE PRECISION, DECIMAL(p,s), TEXT, VARCHAR(n), BYTEA, DATE, TIME, \
         TIMESTAMP(p), TIMESTAMPTZ(p), INTERVAL, UUID, JSON, JSONB, arrays as T[] and ROW(name type, …).",
    )
}

fn float(info: &ExactNumberInfo) -> Result<SqlType> {
    match info {
        ExactNumberInfo::None => Ok(SqlType::Double),
        ExactNumberInfo::Precision(1..=24) => Ok(SqlType::Real),
        ExactNumberInfo::Precision(25..=53) => Ok(SqlType::Double),
        _ => Err(Error::new(
            SqlState::BadArgument,
            "precision for type float must be between 1 and 53 bits",
        )),
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::Decimal(None)),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=DECIMAL_DIGITS).contains(&precision) {
        return Err(Error::new(
            SqlState::BadArgument,
            format!("NUMERIC precision {precision} must be between 1 and {DECIMAL_DIGITS}"),
        ));
    }
    if scale < 0 || scale as u64 > precision {
        return Err(Error::new(
            SqlState::BadArgument,
            format!("NUMERIC scale {scale} must be between 0 and precision {precision}"),
        ));
    }
    Ok(SqlType::Decimal(Some((precision as u8, scale as i8))))
}

/// VARCHAR(n). Flink writes VARCHAR(2147483647) for STRING.
fn varchar(length: &Option<CharacterLength>) -> Result<SqlType> {
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) if *length == i32::MAX as u64 => {
            Ok(SqlType::Text)
        }
        length => Ok(SqlType::Varchar(characters(length, "varchar")?)),
    }
}

/// The length that a type is written with.
fn characters(length: &Option<CharacterLength>, type_name: &str) -> Result<Option<u32>> {
    let Some(CharacterLength::IntegerLength { length, .. }) = length else { return Ok(None) };
    let what = match u32::try_from(*length) {
        Ok(length @ 1..=10_485_760) => return Ok(Some(length)),
        Ok(0) => "must be at least 1",
        _ => "cannot exceed 10485760",
    };
    Err(Error::new(SqlState::BadArgument, format!("length for type {type_name} {what}")))
}

#[cfg(test)]
mod tests {
    use super::super::parse_type;
    use super::*;

    #[track_caller]
    fn check(sql: &str, expect: SqlType) {
        assert_eq!(parse_type(sql).unwrap(), expect, "{sql}");
    }

    #[test]
    fn a_type_has_the_spellings_of_three_systems() {
        for sql in ["TEXT", "string", "VARCHAR(2147483647)"] {
            check(sql, SqlType::Text);
        }
        for sql in ["VARCHAR", "character varying", "pg_catalog.varchar"] {
            check(sql, SqlType::Varchar(None));
        }
        check("CHAR", SqlType::Bpchar(Some(1)));
        check("character(3)", SqlType::Bpchar(Some(3)));
        check("bpchar", SqlType::Bpchar(None));
        check("varchar(20)", SqlType::Varchar(Some(20)));
        for sql in ["DOUBLE", "double precision", "FLOAT8", "float", "FLOAT(53)"] {
            check(sql, SqlType::Double);
        }
        check("float(24)", SqlType::Real);
        check("INT2", SqlType::SmallInt);
        check("INTEGER", SqlType::Int);
        check("int8", SqlType::BigInt);
        check("pg_catalog.int8", SqlType::BigInt);
        check("DECIMAL(10, 2)", SqlType::Decimal(Some((10, 2))));
        check("numeric", SqlType::Decimal(None));
        check("BYTES", SqlType::Bytea);
        check("TIMESTAMP(3)", SqlType::Timestamp(3));
        check("TIMESTAMP", SqlType::Timestamp(6));
        for sql in [
            "TIMESTAMP_LTZ(3)",
            "TIMESTAMP(3) WITH LOCAL TIME ZONE",
            "timestamptz(3)",
            "timestamp(3) with time zone",
        ] {
            check(sql, SqlType::TimestampTz(3));
        }
        check("TIME", SqlType::Time);
        check("INTERVAL", SqlType::Interval);
        check("interval second(3)", SqlType::Interval);
        check("uuid", SqlType::Uuid);
        check("JSONB", SqlType::Jsonb);
    }

    #[test]
    fn types_nest() {
        let ints = SqlType::Array(Box::new(SqlType::Int));
        for sql in ["int[]", "INT ARRAY", "ARRAY<INT>", "int[3]"] {
            check(sql, ints.clone());
        }
        let row = |b| SqlType::Row(vec![("a".into(), SqlType::Int), ("b".into(), b)]);
        check("ROW(a int, b text)", row(SqlType::Text));
        check("ROW<a int, b STRING>", row(SqlType::Text));
        check("STRUCT<A: int, b ARRAY<ARRAY<int>>>", row(SqlType::Array(Box::new(ints.clone()))));
        check(
            "STRUCT<a int, b STRUCT<a int, b int[]>>[]",
            SqlType::Array(Box::new(row(row(ints)))),
        );
    }

    #[test]
    fn what_is_no_type_is_an_error_with_a_hint() {
        for (sql, state) in [
            ("SERIAL", SqlState::NotSupported),
            ("tinyint", SqlState::UndefinedObject),
            ("money", SqlState::UndefinedObject),
            ("time with time zone", SqlState::NotSupported),
            ("decimal(39)", SqlState::BadArgument),
            ("decimal(5,6)", SqlState::BadArgument),
            ("timestamp(10)", SqlState::BadArgument),
            ("int >>", SqlState::Syntax),
            ("array<int>>", SqlState::Syntax),
            ("array<int", SqlState::Syntax),
            ("", SqlState::Syntax),
        ] {
            let error = parse_type(sql).unwrap_err();
            assert_eq!(error.state(), state, "{sql}: {error}");
        }
    }
}
