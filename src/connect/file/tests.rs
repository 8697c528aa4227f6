//! What holds for files, whatever is in them and however they are read.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::connect::Rejected;
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::types::SqlType;

fn bid() -> Vec<Field> {
    vec![
        Field::new("auction", DataType::Int64, false),
        Field::new("price", DataType::Float64, true),
        Field::new("url", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]
}

fn try_open(root: &Path, options: &[(&str, &str)]) -> Result<FileSource> {
    try_open_with(&bid(), root, options)
}

fn try_open_with(columns: &[Field], root: &Path, options: &[(&str, &str)]) -> Result<FileSource> {
    let options: Vec<_> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    FileSource::open(&ConnectorOptions::new(&options)?, columns, root, None)
}

fn open(root: &Path, options: &[(&str, &str)]) -> FileSource {
    try_open(root, options).unwrap()
}

/// Everything there is, in portions, each by a new reader.
fn read(
    source: &FileSource,
    columns: Option<&[usize]>,
    step: usize,
) -> (RecordBatch, Vec<Rejected>) {
    let (mut offset, mut batches, mut rejected) = (SourceOffset::default(), Vec::new(), Vec::new());
    loop {
        let mut reader = source.reader(offset, columns).unwrap();
        let got = reader.read(0, step).unwrap();
        offset = reader.offset();
        assert!(got.batch.num_rows() + got.rejected.len() <= step);
        let nothing = got.batch.num_rows() + got.rejected.len() == 0;
        batches.push(got.batch);
        rejected.extend(got.rejected);
        if got.ended || nothing {
            return (concat_batches(&batches[0].schema(), &batches).unwrap(), rejected);
        }
    }
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let style = arrow::util::display::FormatOptions::default().with_null("∅");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|c| arrow::util::display::ArrayFormatter::try_new(c, &style).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}

fn check(format: &str, content: impl AsRef<[u8]>, rows: &[&str], errors: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f"), content).unwrap();
    let source = open(directory.path(), &[("path", "f"), ("format", format)]);
    for step in [1, 2, 3, 1000] {
        let (batch, rejected) = read(&source, None, step);
        assert_eq!(texts(&batch), rows);
        let found: Vec<_> = rejected.iter().map(|r| format!("{} {}", r.offset, r.error)).collect();
        assert_eq!(found.len(), errors.len(), "{found:?}");
        for (found, expected) in found.iter().zip(errors) {
            assert!(found.contains(expected), "{found} should say {expected}");
        }
        // Which rows there are does not depend on the columns.
        let (few, rejected_too) = read(&source, Some(&[2, 0]), step);
        assert_eq!(few, batch.project(&[2, 0]).unwrap());
        assert_eq!(rejected_too, rejected);
    }
}

/// The one column of a file, with its values as Postgres writes them, and the reasons why records
/// were rejected.
fn column(sql_type: &SqlType, format: &str, content: &str) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f"), content).unwrap();
    let field = sql_type.to_field("c", true);
    let options = [("path", "f"), ("format", format)];
    let source = try_open_with(std::slice::from_ref(&field), directory.path(), &options).unwrap();
    let (batch, rejected) = read(&source, None, 1000);
    let encoder = Encoder::new(&field);
    let text = |row| {
        let mut out = bytes::BytesMut::new();
        if encoder.is_null(batch.column(0), row) {
            out.extend_from_slice(b"NULL")
        } else {
            encoder.text(batch.column(0), row, &TextStyle::default(), &mut out)
        }
        String::from_utf8(out.to_vec()).unwrap()
    };
    (
        (0..batch.num_rows()).map(text).collect(),
        rejected.into_iter().map(|record| record.error).collect(),
    )
}

#[test]
fn a_file_means_what_copy_of_it_means() {
    use SqlType::*;
    let check = |sql_type: SqlType, content: &str, expect: &[&str]| {
        assert_eq!(
            column(&sql_type, "csv", content),
            (expect.iter().map(|s| s.to_string()).collect(), vec![])
        );
    };
    check(Date, "2015-7-1\n20150701\n\"Jul 1, 2015\"\n", &["2015-07-01"; 3]);
    check(
        Timestamp(3),
        "2015-7-1 1:02\n\"Wed, 01 Jul 2015 01:02:03 GMT\"\n\"2015-07-01 01:02:03,4567\"\n",
        &["2015-07-01 01:02:00", "2015-07-01 01:02:03", "2015-07-01 01:02:03.457"],
    );
    check(TimestampTz(6), "2015-07-01 01:02:03 PST\n", &["2015-07-01 09:02:03+00"]);
    check(Boolean, "tr\nof\n", &["t", "f"]);
    check(Bytea, "a\\001\n\\x68 69\n", &["\\x6101", "\\x6869"]);
    check(Interval, "1-2\nPT1M\n1:02\n", &["1 year 2 mons", "00:01:00", "01:02:00"]);
    check(Decimal(Some((50, 2))), "1.005\n", &["1.01"]);
    check(Array(Box::new(Int)), "\"{1,NULL,3}\"\n", &["{1,NULL,3}"]);
    check(Jsonb, "\"{\"\"b\"\":1e2}\"\n", &["{\"b\": 100}"]);
}

#[test]
fn a_value_that_is_wrong_leaves_nothing_behind() {
    let row = SqlType::Row(vec![("a".into(), SqlType::Int), ("b".into(), SqlType::Text)]);
    let rows = SqlType::Array(Box::new(row));
    let content = "{\"c\":[{\"a\":1,\"b\":\"x\"}]}\n{\"c\":[{\"b\":\"y\",\"a\":2},{\"a\":\"no\"}]}\n\
                   {\"c\":[{\"B\":{\"k\":[1]}}, null]}\n{}\n{\"c\":[]}\n{\"c\":7}\n";
    let (values, errors) = column(&rows, "json", content);
    assert_eq!(
        values,
        ["{\"(1,x)\"}", "{\"(,\\\"{\\\"\\\"k\\\"\\\":[1]}\\\")\",NULL}", "NULL", "{}"]
    );
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("invalid input syntax for type integer: \"no\""), "{errors:?}");
    assert!(errors[1].contains("malformed array literal: \"7\""), "{errors:?}");
}

#[test]
fn json_of_json_lines_is_as_it_was_written() {
    let content =
        "\u{feff}{\"c\":{\"b\":1, \"a\":[true]}}\n{\"c\":\"x\"}\n{\"c\":7}\n{\"c\":null}\n";
    let check = |sql_type, expect: [&str; 4]| {
        assert_eq!(
            column(&sql_type, "json", content),
            (expect.map(str::to_owned).to_vec(), vec![])
        );
    };
    check(SqlType::Json, ["{\"b\":1, \"a\":[true]}", "\"x\"", "7", "NULL"]);
    check(SqlType::Jsonb, ["{\"a\": [true], \"b\": 1}", "\"x\"", "7", "NULL"]);
    check(SqlType::Text, ["{\"b\":1, \"a\":[true]}", "x", "7", "NULL"]);
}

#[test]
fn csv_records_are_read_with_quotes_nulls_and_every_line_end() {
    check(
        "csv",
        "1,2.5,a,2015-07-15 00:00:00\r\n2,,\"b,\"\"c\"\"\nd\",2015-07-15T00:00:00.25Z\n\n3,1,\"\",",
        &["1|2.5|a|2015-07-15T00:00:00", "2|∅|b,\"c\"\nd|2015-07-15T00:00:00.250", "3|1.0||∅"],
        &[],
    );
}

#[test]
fn csv_records_that_are_wrong_are_rejected_one_by_one() {
    check(
        "csv",
        b"1,1,a,\nx,1,a,\n2,1e400,a,\n3,1,a\n4,1,a,,\n,1,a,\n5,1,a,2015-02-30\n6,1,\"a\"b,\n7,1,\"open,\n8,1,\xff,\n9,1,z,\n",
        &["1|1.0|a|∅", "9|1.0|z|∅"],
        &[
            "1 column \"auction\": invalid input syntax for type bigint: \"x\"",
            "2 column \"price\": \"1e400\" is out of range for type double precision",
            "3 missing data",
            "4 extra data",
            "5 null value in column \"auction\"",
            "6 column \"ts\"",
            "7 characters after the closing quote",
            "8 a quoted field is not closed",
            "9 invalid byte sequence",
        ],
    );
}

#[test]
fn json_lines_are_read_by_name() {
    check(
        "json",
        "{\"auction\":1,\"price\":2.5,\"url\":\"a\\u00e9\\n\\ud83d\\ude00\",\"ts\":\"2015-07-15T00:00:00Z\"}\n \n{\"x\":[{\"y\":[1,{}]}],\"url\":{\"k\":[1, 2]}, \"Auction\" : \"7\"}\r\n{\"auction\":1,\"auction\":8,\"price\":null}",
        &["1|2.5|aé\n😀|2015-07-15T00:00:00", "7|∅|{\"k\":[1, 2]}|∅", "8|∅|∅|∅"],
        &[],
    );
}

#[test]
fn json_lines_that_are_wrong_are_rejected_one_by_one() {
    check(
        "json",
        "{\"auction\":1}\n{\"auction\":1.9}\n{\"auction\":1,\"price\":1e400}\n{\"price\":1}\n[1]\n{\"auction\":2\n{\"auction\":2}}\n{\"auction\":2,\"ts\":1436918400000}\n{\"auction\":2,\"url\":\"\\ud800\"}\n{\"auction\":3}\n",
        &["1|∅|∅|∅", "3|∅|∅|∅"],
        &[
            "1 column",
            "2 column",
            "3 null value",
            "4 invalid JSON",
            "5 invalid JSON",
            "6 invalid JSON: characters after",
            "7 column \"ts\"",
            "8 invalid JSON",
        ],
    );
}

proptest! {
    #[test]
    fn json_is_read_as_serde_reads_it(line in "[{}\\[\\]:,\"a0-9.eE+\\\\nul -]{0,24}|\\{\"x\":[ -~é]{0,12}\\}") {
        let field = Field::new("url", DataType::Utf8, true);
        let mut decoder = JsonDecoder::new([&field].into_iter());
        let mut rows = BatchBuilder::new(std::slice::from_ref(&field), vec![0], 0, None);
        use crate::connect::decode::More;
        decoder.decode(&line, More::Ended, 10, &mut rows);
        let schema = Arc::new(Schema::new(vec![Field::new("url", DataType::Utf8, true)]));
        let (batch, _) = rows.finish(&schema).unwrap();
        let expected = serde_json::from_str::<serde_json::Value>(&line).is_ok_and(|v| v.is_object());
        // What serde refuses for being too large a number is a number all the same.
        if !line.contains(['e', 'E']) {
            prop_assert_eq!(batch.num_rows() == 1, expected, "{}", line);
        }
    }

    #[test]
    fn garbage_lines_never_harm_good_ones(
        lines in prop::collection::vec(prop_oneof![Just(None), "[,\"x0-9.\\\\]{1,12}".prop_map(Some)], 1..40),
        step in 1usize..50,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut content = String::new();
        for (i, line) in lines.iter().enumerate() {
            match line {
                None => content += &format!("{i},1.5,good{i},2015-07-15\n"),
                // One field: no garbage line is a record by accident, and no blank one.
                Some(garbage) => content += &format!("x{}\n\"{}\n", garbage.replace(',', ""), garbage.replace(',', "")),
            }
        }
        std::fs::write(directory.path().join("f"), content).unwrap();
        let source = open(directory.path(), &[("path", "f"), ("format", "csv")]);
        let (batch, rejected) = read(&source, None, step);
        let good: Vec<_> = lines.iter().enumerate().filter(|(_, l)| l.is_none())
            .map(|(i, _)| format!("{i}|1.5|good{i}|2015-07-15T00:00:00")).collect();
        prop_assert_eq!(texts(&batch), good);
        prop_assert_eq!(rejected.len(), 2 * lines.iter().flatten().count());
    }
}

#[test]
fn watching_finds_what_is_appended_and_waits_for_the_end_of_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        use std::io::Write;
        let path = directory.path().join(name);
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let source = open(directory.path(), &[("path", "*.csv"), ("format", "csv"), ("mode", "watch")]);
    let mut reader = source.reader(SourceOffset::default(), Some(&[0])).unwrap();
    let mut now = 0;
    let mut expect = |rows: &[&str]| {
        now += 1000;
        let got = reader.read(now, 100).unwrap();
        assert!(!got.ended);
        assert_eq!(texts(&got.batch), rows);
        reader.offset()
    };
    expect(&[]);
    write("b.csv", "1,,,\n2,,");
    expect(&["1"]);
    expect(&[]);
    write("b.csv", ",\n3,,,");
    let middle = expect(&["2"]);
    write("a.csv", "4,,,\n");
    // b.csv was there first; as a.csv follows it, it is finished, and its last line with it.
    let end = expect(&["3", "4"]);
    let mut again = source.reader(middle, Some(&[0])).unwrap();
    assert_eq!(texts(&again.read(0, 100).unwrap().batch), ["3", "4"]);
    write("b.csv", "5,,,\n");
    let error = source.reader(end, None).unwrap().read(0, 100).unwrap_err();
    assert_eq!(error.state(), SqlState::NotInState);
}

#[test]
fn a_file_that_shrinks_is_an_error_unless_it_may_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    for (on_truncate, expect) in [("fail", None), ("restart", Some(vec!["9".to_string()]))] {
        std::fs::write(&path, "1,,,\n2,,,\n").unwrap();
        let source = open(
            directory.path(),
            &[("path", "f"), ("format", "csv"), ("mode", "watch"), ("on_truncate", on_truncate)],
        );
        let mut reader = source.reader(SourceOffset::default(), Some(&[0])).unwrap();
        assert_eq!(reader.read(0, 10).unwrap().batch.num_rows(), 2);
        std::fs::write(&path, "9,,,\n").unwrap();
        assert_eq!(reader.read(1000, 10).ok().map(|got| texts(&got.batch)), expect);
    }
}

#[test]
fn files_come_in_the_order_of_their_names_with_headers_matched_by_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("in")).unwrap();
    for (name, text) in [
        ("in/2.csv", "url,extra,ts,price,AUCTION\nb,x,,2,20"),
        ("in/1.csv", "auction,price,url,ts\n10,1,a,\n"),
        ("in/.3.csv", "no"),
        ("in/4.txt", "no"),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let options = [("path", "in/*.csv"), ("format", "csv"), ("header", "true")];
    let source = open(directory.path(), &options);
    assert_eq!(texts(&read(&source, None, 1).0), ["10|1.0|a|∅", "20|2.0|b|∅"]);
}

#[test]
fn no_file_outside_the_root_is_read() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "1,,,\n").unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), directory.path().join("link"))
        .unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("dir")).unwrap();
    let absolute = outside.path().join("secret").display().to_string();
    for path in ["../secret", "link", "dir/secret", "dir/*", "*", "a/../../b", &absolute] {
        let refused = try_open(directory.path(), &[("path", path), ("format", "csv")]);
        assert_eq!(
            refused.err().map(|e| e.state()),
            Some(SqlState::InsufficientPrivilege),
            "{path}"
        );
    }
}
