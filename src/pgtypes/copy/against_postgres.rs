//! A table of COPY data that PostgreSQL 15 was given, and what it made of it.
//!
//! `postgres15.tsv` has a line for each: direction, options, data, answer. `from`: the data was
//! read with these options and the answer is the same rows in the default text format, or
//! `!SQLSTATE message` and then the error's context. `to`: the data is in the default text format
//! and the answer is what those options make of it. The table is (id bigint not null, t text, d
//! float8); for `from1` and `to1` it is (t text). `␊`, `␍`, `␉` and `␠` stand for a line feed, a
//! carriage return, a tab and a space. A sixth field, after `=`, is our answer where it is meant to
//! differ.

use super::tests::encode;
use super::*;
use crate::error::Result;
use crate::types::SqlType;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;

fn plain(text: &str) -> String {
    text.replace('␊', "\n").replace('␍', "\r").replace('␉', "\t").replace('␠', " ")
}

fn options(text: &str) -> CopyOptions {
    let mut words = text.split(' ');
    let mut options =
        if words.next() == Some("csv") { CopyOptions::csv() } else { CopyOptions::text() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let value = plain(value);
        let byte = || value.as_bytes()[0];
        let columns = || {
            Some(match value.as_str() {
                "*" => ForceColumns::All,
                names => ForceColumns::Some(names.split(',').map(str::to_owned).collect()),
            })
        };
        match key {
            "delimiter" => options.delimiter = byte(),
            "quote" => {
                options.escape =
                    if options.escape == options.quote { byte() } else { options.escape };
                options.quote = byte();
            }
            "escape" => options.escape = byte(),
            "null" => options.null = value,
            "header" if value == "match" => options.header = CopyHeader::Match,
            "header" => options.header = CopyHeader::On,
            "force_quote" => options.force_quote = columns(),
            "force_null" => options.force_null = columns(),
            "force_not_null" => options.force_not_null = columns(),
            _ => panic!("option {key}"),
        }
    }
    options
}

/// Decodes the data in pieces of a few bytes.
fn decode(
    one_column: bool,
    options: &CopyOptions,
    data: &str,
    piece: usize,
) -> Result<RecordBatch> {
    let columns = if one_column {
        vec![("t".into(), SqlType::Text, false)]
    } else {
        vec![
            ("id".into(), SqlType::BigInt, true),
            ("t".into(), SqlType::Text, false),
            ("d".into(), SqlType::Double, false),
        ]
    };
    let mut decoder = CopyDecoder::new(columns, options.clone());
    for piece in data.as_bytes().chunks(piece) {
        decoder.push(piece)?;
    }
    let mut batches = Vec::new();
    while let Some(batch) = decoder.finish()? {
        batches.push(batch);
    }
    Ok(concat_batches(&decoder.schema(), &batches)?)
}

fn answer(direction: &str, options: &CopyOptions, data: &str, piece: usize) -> (String, String) {
    let one_column = direction.ends_with('1');
    let from = direction.starts_with("from");
    let text = CopyOptions::text();
    let (input, output) = if from { (options, &text) } else { (&text, options) };
    match decode(one_column, input, data, piece) {
        Ok(batch) => (String::from_utf8(encode(&batch, output.clone())).unwrap(), String::new()),
        Err(error) => (
            format!("!{} {}", error.state().code(), error.message()),
            error.detail_text().unwrap_or_default().to_owned(),
        ),
    }
}

#[test]
fn copy_data_is_read_and_written_as_postgres_15_does() {
    let (mut wrong, mut compared) = (String::new(), 0);
    for line in include_str!("postgres15.tsv").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [direction, said, data, expect, rest @ ..] = &fields[..] else {
            panic!("not a line of the table: {line}");
        };
        let expect = match rest {
            [_, ours] => ((*ours).trim_start_matches('=').to_owned(), None),
            [context] => {
                // The decoder does not know the table's name.
                let context =
                    context.strip_prefix("COPY c, ").or(context.strip_prefix("COPY c1, "));
                (expect.replace(" of relation \"c\"", ""), context)
            }
            _ => ((*expect).to_owned(), Some("")),
        };
        for piece in [1, 3, 1 << 20] {
            let got = answer(direction, &options(said), &plain(data), piece);
            let context = expect.1.is_none_or(|context| got.1.ends_with(&plain(context)));
            if got.0 != plain(&expect.0) || !context {
                wrong += &format!(
                    "{direction} {said} «{data}»\n  postgres {expect:?}\n  here {piece} {got:?}\n"
                );
                break;
            }
        }
        compared += 1;
    }
    assert!(compared > 400, "only {compared} compared");
    assert!(wrong.is_empty(), "\n{wrong}");
}
