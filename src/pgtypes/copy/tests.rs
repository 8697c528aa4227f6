//! COPY data both ways, against what Postgres 15 reads and writes.

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::TextStyle;
use crate::types::SqlType;

fn columns() -> Vec<(String, SqlType, bool)> {
    vec![
        ("id".into(), SqlType::BigInt, true),
        ("t".into(), SqlType::Text, false),
        ("d".into(), SqlType::Double, false),
    ]
}

/// Decodes data that comes in the given pieces, into one batch.
fn decode_pieces(options: &CopyOptions, pieces: &[&[u8]]) -> Result<RecordBatch> {
    let mut decoder = CopyDecoder::new(columns(), options.clone());
    let mut batches = Vec::new();
    for piece in pieces {
        decoder.push(piece)?;
        batches.extend(decoder.take());
    }
    while let Some(batch) = decoder.finish()? {
        batches.push(batch);
    }
    let all = concat_batches(&decoder.schema(), &batches)?;
    assert_eq!(all.num_rows() as u64, decoder.rows());
    Ok(all)
}

/// Decodes, and writes again as text in the default format.
fn shown(options: &CopyOptions, data: &str) -> Result<String> {
    let batch = decode_pieces(options, &[data.as_bytes()])?;
    Ok(String::from_utf8(encode(&batch, CopyOptions::text())).unwrap())
}

pub(crate) fn encode(batch: &RecordBatch, options: CopyOptions) -> Vec<u8> {
    let encoder = CopyEncoder::new(&batch.schema(), options, TextStyle::default());
    let mut out = BytesMut::from(&encoder.start()[..]);
    out.extend_from_slice(&encoder.batch(batch).unwrap());
    out.extend_from_slice(&encoder.end());
    out.to_vec()
}

fn fails(options: &CopyOptions, data: &str) -> Error {
    shown(options, data).unwrap_err()
}

#[test]
fn text_is_read_with_escapes_nulls_and_the_end_marker() {
    let text = CopyOptions::text();
    assert_eq!(
        shown(&text, "1\ta\\tb\\\\\t2.5\n2\t\\N\t\\N\n").unwrap(),
        "1\ta\\tb\\\\\t2.5\n2\t\\N\t\\N\n"
    );
    assert_eq!(shown(&text, "1\t\\x41\\102\\q\t1\r\n2\tb\t2").unwrap(), "1\tABq\t1\n2\tb\t2\n");
    assert_eq!(shown(&text, "1\ta\\\nb\t1\n").unwrap(), "1\ta\\nb\t1\n");
    assert_eq!(shown(&text, "1\ta\t1\n\\.\nrubbish").unwrap(), "1\ta\t1\n");
    assert_eq!(shown(&text, "").unwrap(), "");
}

#[test]
fn csv_is_read_with_quotes_line_ends_and_nulls() {
    let csv = CopyOptions::csv();
    assert_eq!(
        shown(&csv, "1,\"a,\"\"b\"\"\nc\",2\n2,,\n3,\"\",1\n").unwrap(),
        "1\ta,\"b\"\\nc\t2\n2\t\\N\t\\N\n3\t\t1\n"
    );
    assert_eq!(shown(&csv, "1,a\"b,\"c,2\r\n").unwrap(), "1\tab,c\t2\n");
    assert_eq!(shown(&csv, "1,x,1\n\\.\n").unwrap(), "1\tx\t1\n");
    let other = CopyOptions { quote: b'\'', escape: b'\\', delimiter: b';', ..CopyOptions::csv() };
    assert_eq!(shown(&other, "1;'a\\'b\\\\;\n';2\n").unwrap(), "1\ta'b\\\\;\\n\t2\n");
    let force = CopyOptions {
        force_not_null: Some(ForceColumns::Some(vec!["t".into()])),
        force_null: Some(ForceColumns::Some(vec!["d".into()])),
        ..CopyOptions::csv()
    };
    assert_eq!(shown(&force, "1,,\"\"\n").unwrap(), "1\t\t\\N\n");
}

#[test]
fn a_header_is_skipped_or_must_match() {
    let on = CopyOptions { header: CopyHeader::On, ..CopyOptions::csv() };
    assert_eq!(shown(&on, "x\n1,a,2\n").unwrap(), "1\ta\t2\n");
    let matching = CopyOptions { header: CopyHeader::Match, ..CopyOptions::csv() };
    assert_eq!(shown(&matching, "id,\"t\",d\n1,a,2\n").unwrap(), "1\ta\t2\n");
    let error = fails(&matching, "id,x,d\n1,a,2\n");
    assert_eq!(
        error.message(),
        "column name mismatch in header line field 2: got \"x\", expected \"t\""
    );
    assert_eq!(fails(&matching, "id,t\n").state(), SqlState::BadCopyFormat);
}

#[test]
fn an_error_says_what_where_and_with_which_code() {
    let check = |options: &CopyOptions, data: &str, state, message: &str, detail: &str| {
        let error = fails(options, data);
        assert_eq!((error.state(), error.message()), (state, message));
        assert_eq!(error.detail_text(), Some(detail));
    };
    let (text, csv) = (CopyOptions::text(), CopyOptions::csv());
    let bad = SqlState::BadCopyFormat;
    check(&text, "1\ta\t1\n2\tb\n", bad, "missing data for column \"d\"", "line 2: \"2\tb\"");
    check(&csv, "1,a,1,x\n", bad, "extra data after last expected column", "line 1: \"1,a,1,x\"");
    let syntax = "invalid input syntax for type bigint: \"abc\"";
    check(&csv, "1,\"a\nb\",1\nabc,x,1\n", SqlState::BadText, syntax, "line 3, column id: \"abc\"");
    let null = "null value in column \"id\" violates not-null constraint";
    check(&csv, ",x,1\n", SqlState::NotNull, null, "line 1: \",x,1\"");
    check(
        &csv,
        "1,\"x,1\n2,y,2\n",
        bad,
        "unterminated CSV quoted field",
        "line 1: \"1,\"x,1\n2,y,2\n\"",
    );
    check(&text, "1\ta\t1\n2\tb\t2\r\n", bad, "literal carriage return found in data", "line 2");
    let utf8 = decode_pieces(&text, &[b"1\t\xff\t1\n"]).unwrap_err();
    assert_eq!(utf8.state(), SqlState::BadCharacter);
}

#[test]
fn what_is_written_reads_back_in_every_format() {
    let data =
        "1\ta\\tb\\n\\\\ \"q\" , ; '\t-0.5\n2\t\\N\tNaN\n3\t\t\\N\n4\t\\\\N\t1e+20\n5\t\\\\.\t1\n";
    let batch = decode_pieces(&CopyOptions::text(), &[data.as_bytes()]).unwrap();
    let odd = CopyOptions {
        quote: b'\'',
        escape: b'\\',
        delimiter: b';',
        null: "-".into(),
        ..CopyOptions::csv()
    };
    let header = CopyOptions { header: CopyHeader::Match, ..CopyOptions::text() };
    for options in [CopyOptions::text(), CopyOptions::csv(), CopyOptions::binary(), odd, header] {
        let bytes = encode(&batch, options.clone());
        let again = decode_pieces(&options, &[&bytes]).unwrap();
        assert_eq!(encode(&again, CopyOptions::text()), data.as_bytes(), "{options:?}");
    }
    assert_eq!(
        String::from_utf8(encode(&batch.slice(1, 2), CopyOptions::csv())).unwrap(),
        "2,,NaN\n3,\"\",\n"
    );
}

#[test]
fn binary_data_that_is_damaged_is_refused() {
    let batch = decode_pieces(&CopyOptions::text(), &[b"1\ta\t1\n"]).unwrap();
    let bytes = encode(&batch, CopyOptions::binary());
    let check = |data: &[u8], message: &str| {
        let error = decode_pieces(&CopyOptions::binary(), &[data]).unwrap_err();
        assert_eq!((error.state(), error.message()), (SqlState::BadCopyFormat, message));
    };
    check(b"PGCOPX", "COPY file signature not recognized");
    check(&bytes[..bytes.len() - 4], "unexpected EOF in COPY data");
    check(&[&bytes[..], b"x"].concat(), "received copy data after EOF marker");
    check(&[&bytes[..19], &[0, 2]].concat(), "row field count is 2, expected 3");
}

#[test]
fn batches_are_full_and_no_row_is_lost_between_them() {
    let data: String = (0..20_000).map(|i| format!("{i}\tx{i}\t{i}.5\n")).collect();
    let mut decoder = CopyDecoder::new(columns(), CopyOptions::text());
    decoder.push(data.as_bytes()).unwrap();
    let mut sizes = Vec::new();
    while let Some(batch) = decoder.take() {
        sizes.push(batch.num_rows());
    }
    while let Some(batch) = decoder.finish().unwrap() {
        sizes.push(batch.num_rows());
    }
    assert_eq!(sizes, [8_192, 8_192, 3_616]);
}

fn any_rows() -> impl Strategy<Value = String> {
    let field = prop_oneof![Just("\\N".to_owned()), "[a-z,\"'\\\\\n\r;é ]{0,6}"];
    let row = (any::<i64>(), field, any::<i32>());
    prop::collection::vec(row, 0..12).prop_map(|rows| {
        let escape = |t: &str| match t {
            "\\N" => t.to_owned(),
            t => t.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"),
        };
        rows.iter().map(|(id, t, d)| format!("{id}\t{}\t{d}\n", escape(t))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn it_does_not_matter_where_the_data_is_cut(rows in any_rows(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let batch = decode_pieces(&CopyOptions::text(), &[rows.as_bytes()]).unwrap();
        prop_assert_eq!(encode(&batch, CopyOptions::text()), rows.as_bytes());
        let odd = CopyOptions { quote: b'\'', escape: b'\\', ..CopyOptions::csv() };
        for options in [CopyOptions::text(), CopyOptions::csv(), odd, CopyOptions::binary()] {
            let bytes = encode(&batch, options.clone());
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            at.sort_unstable();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut from = 0;
            for cut in at {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            let again = decode_pieces(&options, &pieces).unwrap();
            prop_assert_eq!(encode(&again, CopyOptions::text()), rows.as_bytes());
        }
    }
}
