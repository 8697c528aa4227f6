//! A table of values that PostgreSQL 15 was given, and what it answered: text and binary, or the
//! error.
//!
//! `postgres15.tsv` has a line for each: type, input, text and binary in hex; or type, input,
//! `!SQLSTATE` and the message. `␊` and `␉` stand for a line feed and a tab. `@zone` sets the
//! session's time zone for what follows. A line with a fifth field is one where the answer is meant
//! to be another than Postgres's; the field says which.

use bytes::BytesMut;

use super::*;

fn type_named(name: &str) -> SqlType {
    if let Some(element) = name.strip_suffix("[]") {
        return SqlType::Array(Box::new(type_named(element)));
    }
    let (base, arguments) = name.split_once('(').unwrap_or((name, ""));
    let arguments: Vec<i32> = arguments.split([',', ')']).filter_map(|a| a.parse().ok()).collect();
    let fields = |fields: &[(&str, &str)]| {
        fields.iter().map(|(n, t)| ((*n).to_owned(), type_named(t))).collect()
    };
    match (base, &arguments[..]) {
        ("bool", _) => SqlType::Boolean,
        ("int2", _) => SqlType::SmallInt,
        ("int4", _) => SqlType::Int,
        ("int8", _) => SqlType::BigInt,
        ("oid", _) => SqlType::Oid,
        ("float4", _) => SqlType::Real,
        ("float8", _) => SqlType::Double,
        ("numeric", [p, s]) => SqlType::Decimal(Some((*p as u8, *s as i8))),
        ("numeric", _) => SqlType::Decimal(None),
        ("text", _) => SqlType::Text,
        ("varchar", [n]) => SqlType::Varchar(Some(*n as u32)),
        ("bytea", _) => SqlType::Bytea,
        ("date", _) => SqlType::Date,
        ("time", _) => SqlType::Time,
        ("timestamp", p) => SqlType::Timestamp(p.first().map_or(6, |p| *p as u8)),
        ("timestamptz", p) => SqlType::TimestampTz(p.first().map_or(6, |p| *p as u8)),
        ("interval", _) => SqlType::Interval,
        ("uuid", _) => SqlType::Uuid,
        ("json", _) => SqlType::Json,
        ("jsonb", _) => SqlType::Jsonb,
        ("r", _) => SqlType::Row(fields(&[("a", "int4"), ("b", "text"), ("c", "float8")])),
        ("rr", _) => SqlType::Row(fields(&[("n", "int4"), ("i", "r")])),
        ("ra", _) => SqlType::Row(fields(&[("l", "int4[]"), ("t", "text")])),
        _ => panic!("type {name}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The text and the binary form of what was read, or the error, as the table writes them.
fn answer(sql_type: &SqlType, input: &str, zone: &str) -> (String, String) {
    let style = TextStyle::in_zone(zone);
    let array = match parse_text_in(sql_type, input, &Zone::of_setting(zone).unwrap()) {
        Ok(array) => array,
        Err(error) => return (format!("!{}", error.state().code()), error.message().to_owned()),
    };
    let encoder = Encoder::new(&sql_type.to_field("c", true));
    let (mut text, mut binary) = (BytesMut::new(), BytesMut::new());
    encoder.text(&array, 0, &style, &mut text);
    if let Err(error) = encoder.binary(&array, 0, &mut binary) {
        return (format!("!{}", error.state().code()), error.message().to_owned());
    }
    match parse_binary(sql_type, &binary) {
        Ok(again) if again == array => {}
        other => return ("binary does not read back".to_owned(), format!("{other:?}")),
    }
    (String::from_utf8(text.to_vec()).unwrap(), hex(&binary))
}

/// Composite types and arrays of them carry the oid of the type, which is another in every
/// database.
fn comparable(name: &str, binary: &str) -> String {
    if name.starts_with('r') && (name.contains('[') || name == "rr") {
        String::new()
    } else {
        binary.to_owned()
    }
}

#[test]
fn every_value_is_read_and_written_as_postgres_15_does() {
    let (mut zone, mut wrong, mut compared) = ("UTC", String::new(), 0);
    for line in include_str!("postgres15.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let (name, input, text, binary, ours) = match fields[..] {
            [first, ..] if first.starts_with('#') => continue,
            ["@zone", name] => {
                zone = name;
                continue;
            }
            [name, input, text, binary] => (name, input, text, binary, None),
            [name, input, text, binary, ours] => (name, input, text, binary, Some(ours)),
            _ => panic!("not a line of the table: {line}"),
        };
        compared += 1;
        let plain = |s: &str| s.replace('␊', "\n").replace('␉', "\t");
        let got = answer(&type_named(name), &plain(input), zone);
        let expect = match ours {
            Some(ours) => (plain(ours), got.1.clone()),
            None => (plain(text), plain(binary)),
        };
        let error = expect.0.starts_with('!');
        let same = got.0 == expect.0
            && (got.1 == expect.1
                || !error && comparable(name, &got.1) == comparable(name, &expect.1));
        if !same {
            wrong += &format!(
                "{zone} {name} «{input}»\n    postgres {expect:?}\n    here     {got:?}\n"
            );
        }
    }
    assert!(compared > 500, "only {compared} values compared");
    assert!(wrong.is_empty(), "\n{wrong}");
}
