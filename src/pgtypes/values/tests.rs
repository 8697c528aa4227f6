//! Values both ways: text → array → text and array → binary → array, for every type.

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, TimeUnit};
use bytes::BytesMut;
use std::sync::Arc;

use super::*;
use crate::error::SqlState;

fn list(element: SqlType) -> SqlType {
    SqlType::Array(Box::new(element))
}

fn row() -> SqlType {
    SqlType::Row(vec![
        ("a".into(), SqlType::Int),
        ("b".into(), SqlType::Text),
        ("c".into(), SqlType::Double),
    ])
}

fn written(sql_type: &SqlType, array: &dyn Array, style: &TextStyle) -> String {
    let mut out = BytesMut::new();
    Encoder::new(&sql_type.to_field("c", true)).text(array, 0, style, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

/// Reads the text, writes it as text and binary, and reads the binary again.
fn check(sql_type: SqlType, text: &str, expect: &str) {
    let array = parse_text(&sql_type, text).unwrap_or_else(|e| panic!("{sql_type} {text}: {e}"));
    assert_eq!(array.data_type(), &sql_type.data_type());
    assert_eq!(written(&sql_type, &array, &TextStyle::default()), expect, "{sql_type} {text}");
    let again = parse_text(&sql_type, expect).unwrap();
    assert_eq!(&again, &array, "{sql_type} {text}: text does not read back");
    let mut out = BytesMut::new();
    Encoder::new(&sql_type.to_field("c", true)).binary(&array, 0, &mut out).unwrap();
    let binary = parse_binary(&sql_type, &out).unwrap_or_else(|e| panic!("{sql_type} {text}: {e}"));
    assert_eq!(&binary, &array, "{sql_type} {text}: binary does not read back");
}

fn refused(sql_type: SqlType, text: &str, state: SqlState, message: &str) {
    let error = parse_text(&sql_type, text).unwrap_err();
    assert_eq!((error.state(), error.message()), (state, message));
}

fn binary(sql_type: SqlType, text: &str) -> Vec<u8> {
    let array = parse_text(&sql_type, text).unwrap();
    let mut out = BytesMut::new();
    Encoder::new(&sql_type.to_field("c", true)).binary(&array, 0, &mut out).unwrap();
    out.to_vec()
}

#[test]
fn simple_values_read_back_from_text_and_binary() {
    check(SqlType::Boolean, "yes", "t");
    check(SqlType::SmallInt, "-32768", "-32768");
    check(SqlType::Int, " 7 ", "7");
    check(SqlType::BigInt, "9223372036854775807", "9223372036854775807");
    check(SqlType::Real, "3.4028235e38", "3.4028235e+38");
    check(SqlType::Double, "-0.1", "-0.1");
    check(SqlType::Double, "infinity", "Infinity");
    check(SqlType::Decimal(Some((10, 2))), "123.455", "123.46");
    check(
        SqlType::Decimal(Some((60, 5))),
        "-12345678901234567890123456789012345678901234.5",
        "-12345678901234567890123456789012345678901234.50000",
    );
    check(SqlType::Decimal(None), "1.50", "1.5");
    check(SqlType::Text, "héllo\n", "héllo\n");
    check(SqlType::Text, "", "");
    check(SqlType::Varchar(Some(3)), "abc  ", "abc");
    check(SqlType::Bpchar(Some(4)), "ä   ", "ä   ");
    check(SqlType::Bytea, "\\xDEadbeef", "\\xdeadbeef");
    check(SqlType::Bytea, "a\\000", "\\x6100");
    check(
        SqlType::Uuid,
        "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    );
    check(SqlType::Json, "{\"a\" : 1}", "{\"a\" : 1}");
    check(SqlType::Jsonb, "{\"b\":[1,2],\"a\":null}", "{\"a\": null, \"b\": [1, 2]}");
    check(SqlType::Name, "pg_class", "pg_class");
    check(SqlType::Oid, "4294967295", "4294967295");
}

#[test]
fn dates_and_times_read_back_from_text_and_binary() {
    check(SqlType::Date, "2024-02-29", "2024-02-29");
    check(SqlType::Date, "Feb 3, 44 BC", "0044-02-03 BC");
    check(SqlType::Date, "-infinity", "-infinity");
    check(SqlType::Time, "04:05:06.789", "04:05:06.789");
    check(SqlType::Time, "24:00", "24:00:00");
    check(SqlType::Time, "4:05 pm", "16:05:00");
    check(SqlType::Timestamp(6), "2024-01-02 03:04:05.100000", "2024-01-02 03:04:05.1");
    check(SqlType::Timestamp(6), "2024-01-02T03:04:05+05", "2024-01-02 03:04:05");
    check(SqlType::Timestamp(6), "2024-01-02", "2024-01-02 00:00:00");
    check(SqlType::Timestamp(6), "1999-12-31 24:00:00", "2000-01-01 00:00:00");
    check(SqlType::Timestamp(6), "infinity", "infinity");
    check(SqlType::Timestamp(6), "epoch", "1970-01-01 00:00:00");
    check(SqlType::Timestamp(6), "12024-01-02 03:04:05", "12024-01-02 03:04:05");
    check(SqlType::Timestamp(6), "0099-01-01 00:00:00 BC", "0099-01-01 00:00:00 BC");
    check(SqlType::Timestamp(3), "1969-12-31 23:59:59.9996", "1970-01-01 00:00:00");
    check(SqlType::Timestamp(0), "2024-01-02 03:04:05.5", "2024-01-02 03:04:06");
    check(SqlType::TimestampTz(6), "2024-01-02 03:04:05+05:30", "2024-01-01 21:34:05+00");
    check(SqlType::TimestampTz(6), "2024-07-01 12:00:00 Europe/Berlin", "2024-07-01 10:00:00+00");
    check(SqlType::TimestampTz(6), "2024-01-02 03:04:05Z", "2024-01-02 03:04:05+00");
    check(
        SqlType::Interval,
        "1 year 2 months 3 days 04:05:06.7",
        "1 year 2 mons 3 days 04:05:06.7",
    );
    check(SqlType::Interval, "-1 day 2 hours", "-1 days +02:00:00");
    let nanos = parse_text(&SqlType::Timestamp(9), "2024-01-02 03:04:05.123456789").unwrap();
    assert_eq!(
        written(&SqlType::Timestamp(9), &nanos, &TextStyle::default()),
        "2024-01-02 03:04:05.123456789"
    );
}

#[test]
fn arrays_and_rows_read_back_from_text_and_binary() {
    check(list(SqlType::Int), "{1, 2,NULL}", "{1,2,NULL}");
    check(list(SqlType::Int), "{}", "{}");
    check(
        list(SqlType::Text),
        r#"{a,"b c","",null,"null","q\"\\", x y ,"{}"}"#,
        r#"{a,"b c","",NULL,"null","q\"\\","x y","{}"}"#,
    );
    check(list(list(SqlType::Int)), "{{1,2},{3,NULL}}", "{{1,2},{3,NULL}}");
    check(
        list(SqlType::TimestampTz(6)),
        "{2024-01-02 03:04:05+00}",
        "{\"2024-01-02 03:04:05+00\"}",
    );
    check(row(), "(1,\"a b\",)", "(1,\"a b\",)");
    check(row(), r#"(,"say ""x"" \\",1.5)"#, r#"(,"say ""x"" \\",1.5)"#);
    check(list(row()), r#"{"(1,\"a b\",)",NULL}"#, r#"{"(1,\"a b\",)",NULL}"#);
    for bad in ["{1,2", "1,2}", "{1,,2}", "{1}x", "{{1}", "{1 2", "[1:3]={1,2}"] {
        assert_eq!(
            parse_text(&list(SqlType::Int), bad).unwrap_err().state(),
            SqlState::BadText,
            "{bad}"
        );
    }
    assert_eq!(
        parse_text(&list(SqlType::Int), "{{1}}").unwrap_err().state(),
        SqlState::NotSupported
    );
    for bad in ["(1,2", "1,2,3", "(1,2)", "(1,2,3,4)", "(1,a,2)x"] {
        assert_eq!(parse_text(&row(), bad).unwrap_err().state(), SqlState::BadText, "{bad}");
    }
}

#[test]
fn binary_values_are_byte_for_byte_those_of_postgres() {
    assert_eq!(binary(SqlType::Date, "2000-01-02"), [0, 0, 0, 1]);
    assert_eq!(
        binary(SqlType::Timestamp(6), "2000-01-01 00:00:00.000001"),
        [0, 0, 0, 0, 0, 0, 0, 1]
    );
    assert_eq!(binary(SqlType::Timestamp(6), "infinity"), i64::MAX.to_be_bytes());
    assert_eq!(binary(SqlType::Jsonb, "1"), [1, b'1']);
    let interval = binary(SqlType::Interval, "2 mons 3 days 00:00:00.000001");
    assert_eq!(interval, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2]);
    let array = binary(list(SqlType::Int), "{7,NULL}");
    let expect: Vec<u8> =
        [1, 1, 23, 2, 1, 4, 7, -1].iter().flat_map(|n: &i32| n.to_be_bytes()).collect();
    assert_eq!(array, expect);
    assert_eq!(binary(list(SqlType::Text), "{}"), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25]);
}

#[test]
fn bad_values_get_the_codes_and_words_of_postgres() {
    let overflow = "value \"40000\" is out of range for type smallint";
    refused(SqlType::SmallInt, "40000", SqlState::OutOfRange, overflow);
    refused(SqlType::Decimal(Some((4, 2))), "100", SqlState::OutOfRange, "numeric field overflow");
    refused(
        SqlType::Boolean,
        "maybe",
        SqlState::BadText,
        "invalid input syntax for type boolean: \"maybe\"",
    );
    refused(
        SqlType::Timestamp(6),
        "x",
        SqlState::BadDatetime,
        "invalid input syntax for type timestamp: \"x\"",
    );
    let range = "date/time field value out of range: \"2024-13-01\"";
    refused(SqlType::Date, "2024-13-01", SqlState::DatetimeOverflow, range);
    refused(SqlType::Json, "{", SqlState::BadText, "invalid input syntax for type json");
    refused(
        SqlType::Varchar(Some(1)),
        "ab",
        SqlState::StringTooLong,
        "value too long for type character varying(1)",
    );
    refused(SqlType::Uuid, "1", SqlState::BadText, "invalid input syntax for type uuid: \"1\"");
    for sql_type in [SqlType::Int, SqlType::Uuid, SqlType::Interval, list(SqlType::Int), row()] {
        assert!(parse_binary(&sql_type, &[1, 2, 3]).is_err(), "{sql_type}");
    }
}

#[test]
fn a_moment_is_shown_and_read_in_the_zone_of_the_session() {
    let berlin = Zone::of_setting("Europe/Berlin").unwrap();
    let tz = SqlType::TimestampTz(6);
    let array = parse_text_in(&tz, "2024-07-01 12:00:00", &berlin).unwrap();
    assert_eq!(written(&tz, &array, &TextStyle::default()), "2024-07-01 10:00:00+00");
    assert_eq!(
        written(&tz, &array, &TextStyle::in_zone("Asia/Kolkata")),
        "2024-07-01 15:30:00+05:30"
    );
    assert_eq!(
        written(&tz, &array, &TextStyle::in_zone("Europe/Berlin")),
        "2024-07-01 12:00:00+02"
    );
}

#[test]
fn what_only_arrow_has_is_shown_as_the_nearest_sql_type() {
    let show = |array: ArrayRef| {
        let field = Field::new("c", array.data_type().clone(), true);
        let encoder = Encoder::new(&field);
        let (mut text, mut binary) = (BytesMut::new(), BytesMut::new());
        encoder.text(&array, 0, &TextStyle::default(), &mut text);
        encoder.binary(&array, 0, &mut binary).unwrap();
        (encoder.sql_type().to_string(), String::from_utf8(text.to_vec()).unwrap(), binary.to_vec())
    };
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None].into_iter().collect();
    assert_eq!(show(Arc::new(dictionary.clone())), ("text".into(), "x".into(), b"x".to_vec()));
    let encoder = Encoder::new(&Field::new("c", dictionary.data_type().clone(), true));
    assert!(encoder.is_null(&dictionary, 1));
    let unsigned = show(Arc::new(UInt64Array::from(vec![i64::MAX as u64])));
    assert_eq!((unsigned.0.as_str(), unsigned.1.as_str()), ("bigint", "9223372036854775807"));
    assert_eq!(show(Arc::new(UInt8Array::from(vec![200]))).2, [0, 200]);
    assert_eq!(show(Arc::new(StringViewArray::from(vec!["v"]))).1, "v");
    assert_eq!(show(Arc::new(TimestampSecondArray::from(vec![1]))).1, "1970-01-01 00:00:01");
    assert_eq!(show(Arc::new(DurationSecondArray::from(vec![90_000]))).1, "1 day 01:00:00");
    let null = NullArray::new(1);
    assert!(Encoder::new(&Field::new("c", DataType::Null, true)).is_null(&null, 0));
    let time = Time32SecondArray::from(vec![61]);
    assert_eq!(time.data_type(), &DataType::Time32(TimeUnit::Second));
    assert_eq!(show(Arc::new(time)).1, "00:01:01");
}

#[test]
fn a_value_that_is_taken_back_leaves_nothing_behind() {
    for (sql_type, good, bad) in [
        (SqlType::Boolean, "t", "q"),
        (SqlType::Int, "1", "x"),
        (SqlType::Decimal(None), "1.5", "x"),
        (SqlType::Text, "a", "\0"),
        (SqlType::Bytea, "a", "b\\"),
        (SqlType::Jsonb, "{}", "[\"\\u0000\"]"),
        (SqlType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0"),
        (row(), "(1,x,2)", "(1,x,y)"),
        (list(row()), r#"{"(1,x,2)"}"#, r#"{"(3,z,4)","(1,x,y)"}"#),
        (list(list(SqlType::Text)), "{{a,b}}", "{{c,d},{e}}"),
    ] {
        let built = |with_bad: bool| {
            let mut column = ColumnBuilder::new(&sql_type, 0);
            for text in [Some(good), None, Some(good)] {
                if with_bad {
                    let before = column.len();
                    column.append_str(bad).unwrap_err();
                    column.append_null();
                    column.truncate(before);
                }
                match text {
                    Some(text) => column.append_str(text).unwrap(),
                    None => column.append_null(),
                }
            }
            column.finish()
        };
        assert_eq!(&built(true), &built(false), "{sql_type}");
    }
}
