//! What records of each format become, and which bodies are refused.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::*;

fn feeder(options: &[(&str, &str)]) -> Result<Feeder> {
    let options = [("connector", "http")].iter().chain(options);
    let options: Vec<_> = options.map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let column = |name: &str, sql_type: SqlType, not_null: bool, has_default: bool| FedColumn {
        field: sql_type.to_field(name, !not_null),
        has_default,
    };
    let columns =
        vec![column("k", SqlType::Text, true, false), column("v", SqlType::BigInt, false, true)];
    Feeder::open(&options, columns, None)
}

/// Each row as `k=v`, `v` a question mark where it is missing; then each rejected record as its
/// number and reason.
fn read(feeder: &Feeder, content_type: &str, body: &str) -> Result<Vec<String>> {
    let media_type = feeder.media_type(Some(content_type))?;
    let mut body = feeder.body(body.as_bytes(), media_type, 0)?;
    let mut lines = Vec::new();
    while let Some(part) = body.next_part()? {
        let FedPart::Rows(rows) = part else { panic!("text is rows") };
        lines.extend(shown(&rows));
    }
    Ok(lines)
}

fn shown(rows: &FedRows) -> Vec<String> {
    let (k, v) = (rows.batch.column(0).as_string::<i32>(), rows.batch.column(1));
    let missing = rows.missing[1].as_ref().unwrap();
    let value = |row: usize| match (missing.value(row), v.is_null(row)) {
        (true, _) => "?".to_owned(),
        (_, true) => "NULL".to_owned(),
        _ => v.as_primitive::<Int64Type>().value(row).to_string(),
    };
    let row = |row: usize| format!("{} {}={}", rows.numbers[row], k.value(row), value(row));
    let rejected = rows.rejected.iter().map(|record| format!("{} {}", record.offset, record.error));
    (0..rows.batch.num_rows()).map(row).chain(rejected).collect()
}

#[test]
fn json_comes_as_lines_as_an_array_or_as_one_object() {
    let json = feeder(&[]).unwrap();
    let read = |body: &str| read(&json, "application/json", body);
    let lines =
        "{\"k\":\"a\",\"v\":1}\n\n{\"k\":\"b\"}\nnonsense\n{\"v\":2}\n{\"k\":\"c\",\"v\":null}";
    assert_eq!(
        read(lines).unwrap(),
        [
            "0 a=1",
            "1 b=?",
            "4 c=NULL",
            "2 invalid JSON: unexpected \"n\" at character 1",
            "3 null value in column \"k\" violates not-null constraint",
        ]
    );
    assert_eq!(
        read("[{\"k\":\"a\",\n\"v\":1}, {\"k\":\"b\"}, 5]").unwrap()[..2],
        ["0 a=1", "1 b=?"]
    );
    assert_eq!(read("{\n  \"k\": \"a\",\n  \"v\": 1\n}\n").unwrap(), ["0 a=1"]);
    assert_eq!(read("[]").unwrap(), [""; 0]);
    assert_eq!(read("").unwrap(), [""; 0]);
    assert_eq!(read("[{\"k\":\"a\"},").unwrap_err().state(), SqlState::BadText);
    assert_eq!(read("[{\"k\":\"a\"}] {}").unwrap_err().state(), SqlState::BadText);
}

#[test]
fn csv_has_all_columns_by_place_or_those_that_its_header_names() {
    let csv = feeder(&[("format", "csv"), ("delimiter", ";")]).unwrap();
    let headed = "text/csv; header=present";
    assert_eq!(read(&csv, "text/csv", "a;1\nb;x\n").unwrap()[0], "0 a=1");
    assert_eq!(read(&csv, "", "a;1").unwrap(), ["0 a=1"]);
    assert_eq!(read(&csv, headed, "V;K\n1;a\n;b\n").unwrap(), ["0 a=1", "1 b=NULL"]);
    assert_eq!(read(&csv, headed, "k\na\n").unwrap(), ["0 a=?"]);
    assert_eq!(read(&csv, headed, "v\n1\n").unwrap_err().state(), SqlState::UndefinedColumn);
    assert_eq!(read(&csv, headed, "").unwrap(), [""; 0]);
}

#[test]
fn a_line_of_text_is_the_value_of_the_one_column_that_needs_one() {
    let text = feeder(&[("format", "text")]).unwrap();
    assert_eq!(read(&text, "text/plain", "a b\r\n\nc").unwrap(), ["0 a b=?", "1 =?", "2 c=?"]);
    let columns = |has_default| {
        let column =
            |name: &str| FedColumn { field: SqlType::Text.to_field(name, true), has_default };
        vec![column("a"), column("b")]
    };
    let http = ("connector".to_owned(), "http".to_owned());
    let format = [http.clone(), ("format".to_owned(), "text".to_owned())];
    let error = Feeder::open(&format, columns(false), None).unwrap_err();
    assert_eq!(error.state(), SqlState::InvalidTableDefinition);
    let json = Feeder::open(&[http], columns(false), None).unwrap();
    assert_eq!(json.media_type(Some("text/plain")).unwrap_err().state(), SqlState::NotSupported);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let json = feeder(&[]).unwrap();
    assert_eq!(json.media_type(Some("image/png")).unwrap_err().state(), SqlState::NotSupported);
    assert_eq!(feeder(&[("format", "avro")]).unwrap_err().state(), SqlState::NotSupported);
    assert_eq!(feeder(&[("path", "x")]).unwrap_err().state(), SqlState::BadArgument);
    let arrow = json.media_type(Some("application/vnd.apache.arrow.stream")).unwrap();
    let refused = |body: &[u8]| match json.body(body, arrow, 0).and_then(|mut b| b.next_part()) {
        Ok(_) => panic!("{body:?} is no stream"),
        Err(error) => error.state(),
    };
    assert_eq!(refused(b"no stream"), SqlState::BadBinary);
    assert_eq!(refused(&[0xFF; 16]), SqlState::BadBinary);
    assert_eq!(unpacked(b"not packed").unwrap_err().state(), SqlState::BadBinary);
}
