//! Small texts that ask for more than there is: planned or run, each ends by itself or in its time,
//! and the server answers afterwards.
//!
//! A row of [`BOMBS`] is what it is called, how it may end, and its text. `ok` is an answer; which
//! of several ends it is may depend on how fast the machine is.

use crate::server::{self, Server};

/// Refused before it is planned further.
const REFUSED: &[&str] = &["54001"];
/// It has too many columns.
const WIDE: &[&str] = &["54011", "54001"];
/// A bound of what functions make.
const BOUND: &[&str] = &["54000"];
/// Runs until its time is over, or has no more memory.
const TIME: &[&str] = &["57014", "53200"];
/// Slow or not, the answer is right.
const ANSWERED: &[&str] = &["ok", "57014"];

/// `WITH a0 AS (SELECT 1 AS x), a1 AS (…)`, each made of the last one, which `step` calls `@`.
fn named(times: usize, step: &str, last: &str) -> String {
    let steps =
        (1..=times).map(|n| format!(", a{n} AS ({})", step.replace('@', &format!("a{}", n - 1))));
    format!(
        "WITH a0 AS (SELECT 1 AS x){} {}",
        steps.collect::<String>(),
        last.replace('@', &format!("a{times}"))
    )
}

fn nested(times: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

fn listed(times: usize, item: impl Fn(usize) -> String, separator: &str) -> String {
    (0..times).map(item).collect::<Vec<_>>().join(separator)
}

/// Texts whose plans would be large.
fn planned() -> Vec<(&'static str, &'static [&'static str], String)> {
    let join = "SELECT l.x FROM @ AS l JOIN @ AS r ON l.x = r.x";
    let count = "SELECT count(*) FROM @";
    vec![
        ("joins doubled 12 times", REFUSED, named(12, join, count)),
        ("joins doubled 20 times", REFUSED, named(20, join, count)),
        ("joins doubled 50 times", REFUSED, named(50, join, count)),
        (
            "columns doubled 20 times",
            WIDE,
            named(20, "SELECT l.*, r.* FROM @ AS l, @ AS r", "SELECT 1 FROM @"),
        ),
        (
            "unions doubled 20 times",
            REFUSED,
            named(20, "SELECT x FROM @ UNION ALL SELECT x FROM @", count),
        ),
        (
            "unions doubled 40 times",
            REFUSED,
            named(40, "SELECT x FROM @ UNION SELECT x FROM @", count),
        ),
        (
            "scalar subqueries doubled 30 times",
            REFUSED,
            named(30, "SELECT (SELECT max(x) FROM @) + (SELECT min(x) FROM @) AS x", count),
        ),
        (
            "unions doubled 5 times",
            ANSWERED,
            named(5, "SELECT x FROM @ UNION ALL SELECT x FROM @", count),
        ),
        (
            "a chain of sums",
            ANSWERED,
            format!("SELECT {} FROM few", listed(490, |_| "k".to_owned(), "+")),
        ),
        (
            "a chain of texts",
            ANSWERED,
            format!("SELECT {} FROM few", listed(490, |_| "s".to_owned(), "||")),
        ),
        (
            "20,000 columns",
            WIDE,
            format!("SELECT {} FROM few", listed(20_000, |n| format!("k AS c{n}"), ", ")),
        ),
        ("arrays in arrays", BOUND, format!("SELECT {}", nested(100, "ARRAY[", "1", "]"))),
        (
            "arrays made of arrays",
            BOUND,
            format!("SELECT {}", nested(100, "make_array(", "1", ")")),
        ),
        (
            "functions of functions",
            ANSWERED,
            format!("SELECT {} FROM few", nested(110, "abs(", "k", ")")),
        ),
        (
            "conditions beside each other",
            ANSWERED,
            format!("SELECT k FROM few WHERE {}", listed(2_000, |n| format!("k <> {n}"), " AND ")),
        ),
        (
            "a long list",
            ANSWERED,
            format!("SELECT k FROM few WHERE k IN ({})", listed(50_000, |n| n.to_string(), ", ")),
        ),
        (
            "all sets of 16 columns",
            WIDE,
            format!(
                "SELECT count(*) FROM few GROUP BY CUBE({})",
                listed(16, |n| format!("k + {n}"), ", ")
            ),
        ),
        (
            "all sets of 7 columns and all of 7 others",
            REFUSED,
            format!(
                "SELECT count(*) FROM few GROUP BY CUBE({0}), CUBE({0})",
                listed(7, |n| format!("k + {n}"), ", ")
            ),
        ),
        (
            "a long FROM",
            REFUSED,
            format!("SELECT 1 FROM {}", listed(3_000, |n| format!("few AS f{n}"), ", ")),
        ),
        (
            "subqueries in subqueries",
            ANSWERED,
            nested(100, "SELECT x FROM (", "SELECT 1 AS x", ") AS q"),
        ),
    ]
}

/// Texts whose answers would be large, or long in coming.
fn run() -> Vec<(&'static str, &'static [&'static str], String)> {
    let text = |name, ends, text: &str| (name, ends, text.to_owned());
    vec![
        text(
            "two values of a key",
            TIME,
            "SELECT count(*) FROM many a JOIN many b ON a.two = b.two, many c",
        ),
        text("a cross join", TIME, "SELECT count(*) FROM many a, many b, many c"),
        text("a sorted cross join", TIME, "SELECT a.id FROM many a, many b ORDER BY a.id * b.id"),
        text(
            "groups of a cross join",
            TIME,
            "SELECT a.id * 100000 + b.id, count(*) FROM many a, many b GROUP BY 1",
        ),
        text(
            "the different values of a long series",
            TIME,
            "SELECT count(DISTINCT value) FROM generate_series(1, 200000000)",
        ),
        text("a long array", BOUND, "SELECT array_resize(ARRAY[1], 2000000000)"),
        text("long arrays", ANSWERED, "SELECT count(array_resize(ARRAY[id], 100000)) FROM many"),
        text(
            "long arrays of text",
            ANSWERED,
            "SELECT sum(cardinality(array_repeat(s, 10000))) FROM many",
        ),
        text("a long text", BOUND, "SELECT repeat('x', 2000000000)"),
        text("long texts", ANSWERED, "SELECT sum(length(repeat(s, 10000))) FROM many"),
        text(
            "a condition on long texts",
            ANSWERED,
            "SELECT count(*) FROM many WHERE length(repeat(s, 10000)) > 5",
        ),
        text(
            "the longest of long texts",
            &["54000", "57014"],
            "SELECT max(lpad(s, 1000000, 'x')) FILTER (WHERE id > 0) FROM many",
        ),
        (
            "long constants",
            BOUND,
            format!(
                "SELECT {}",
                listed(40, |n| format!("length(repeat('{n}', 60000000)) AS c{n}"), ", ")
            ),
        ),
        text(
            "regular expressions built from the data",
            // Nothing is repeated more than 255 times.
            &["2201B", "57014"],
            "SELECT count(*) FROM many WHERE s ~ ('(' || s || '|a{1,' || id % 500 + 50 || '}){1,20}')",
        ),
        text(
            "long arrays taken apart beside a text",
            ANSWERED,
            "SELECT max(length(t || u)) FROM (SELECT repeat(s, 1000) AS t, unnest(generate_series(1, 1000)) AS u FROM many) AS q",
        ),
        text(
            "a long array taken apart",
            ANSWERED,
            "SELECT count(*) FROM (SELECT unnest(generate_series(1, 5000000))) AS q",
        ),
        (
            "texts doubled",
            BOUND,
            nested(40, "SELECT s || s AS s FROM (", "SELECT s FROM many", ") AS q"),
        ),
        text(
            "all in one text",
            &["53200", "54000", "57014", "ok"],
            "SELECT length(string_agg(repeat(s, 10000), ',')) FROM many",
        ),
        (
            "all sets of 12 columns",
            &["ok", "53200", "57014"],
            format!(
                "SELECT count(*) FROM (SELECT count(*) FROM many GROUP BY CUBE({})) AS q",
                listed(12, |n| format!("id % {}", n + 2), ", ")
            ),
        ),
        text(
            "a long constant many times in one text",
            &["54000", "57014"],
            "SELECT length(string_agg(repeat('x', 1000000), '')) FROM many",
        ),
        text(
            "a long text beside each of many rows",
            &["54000", "53200"],
            "SELECT max(l.t || m.id) FROM longs l, many m",
        ),
        text(
            "groups of a long text beside each of many rows",
            &["54000", "53200"],
            "SELECT t, count(*) FROM longs, many GROUP BY t",
        ),
        text(
            "texts that become long for each of two groups",
            BOUND,
            "SELECT two, length(string_agg(repeat(s, 10000), '')) FROM many GROUP BY two",
        ),
        text(
            "a query without an end",
            TIME,
            "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        ),
        text(
            "subqueries run for each row",
            ANSWERED,
            "SELECT count((SELECT max(b.id) FROM many b WHERE b.id + a.id < b.id * a.id)) FROM many a",
        ),
        text(
            "subqueries run for each row of the catalog",
            ANSWERED,
            "SELECT count(*) FROM pg_class c, pg_proc p WHERE EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attnum + c.oid > p.oid * 2)",
        ),
        text(
            "a large write",
            &["54000", "57014", "53200"],
            "INSERT INTO sink SELECT repeat(s, 100000) FROM many",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_small_text_asks_for_ends_and_others_are_answered() {
    let flags = ["--ephemeral", "--memory-limit", "1GiB"];
    let server = Server::start(&flags);
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE TABLE few (k INT, s TEXT); INSERT INTO few VALUES (1, 'a'), (2, 'b');
         CREATE TABLE many (id BIGINT, two INT, s TEXT); CREATE TABLE sink (s TEXT);
         CREATE TABLE longs (t TEXT); INSERT INTO longs SELECT repeat(s, 1000000) FROM few;
         INSERT INTO many SELECT value, value % 2, 'abc' || value FROM generate_series(1, 20000)",
    )
    .await;
    let other = server.connect().await;
    server::run(&client, "SET statement_timeout = '3s'").await;
    for (name, ends, sql) in planned().into_iter().chain(run()) {
        // What the one before held is given back: else this one finds less memory than there is.
        server.rests().await;
        let end = match client.simple_query(&sql).await {
            Ok(_) => "ok".to_owned(),
            Err(error) => server::state(&error),
        };
        assert!(ends.contains(&end.as_str()), "{name}: {end}, not one of {ends:?}");
        assert_eq!(server::value(&other, "SELECT 1").await, "1", "after {name}");
    }
    // What was answered has ended, and none of them took much more than the limit allows; a debug
    // build has some hundreds of MiB of itself in memory.
    server.rests().await;
    assert!(server.memory("VmHWM") < 2_000, "peak memory was {} MiB", server.memory("VmHWM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_double_each_other_are_refused_when_they_are_made() {
    let client = server::shared().connect().await;
    let v = server::unique("v");
    server::run(&client, &format!("CREATE VIEW {v}_0 AS SELECT 1 AS x")).await;
    for n in 1..40 {
        let create = format!(
            "CREATE VIEW {v}_{n} AS SELECT l.x FROM {v}_{m} l JOIN {v}_{m} r ON l.x = r.x",
            m = n - 1
        );
        match client.batch_execute(&create).await {
            Ok(()) => {}
            Err(error) => return assert_eq!(server::state(&error), "54001"),
        }
    }
    panic!("a view of 2^39 nodes was made");
}
