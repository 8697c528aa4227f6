//! The functions as SQL sees them: one question and its answer a line.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;
use crate::error::{Error, SqlState};

fn context() -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    register(&context).unwrap();
    for rule in analyzer_rules() {
        context.add_analyzer_rule(rule);
    }
    context
}

async fn ask(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let batches = context.sql(sql).await?.collect().await?;
    let style = FormatOptions::default().with_null("∅").with_types_info(false);
    let mut lines = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &style))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            lines.push(
                columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"),
            );
        }
    }
    Ok(lines)
}

async fn check(sql: &str, expect: &[&str]) {
    match ask(&context(), sql).await {
        Ok(found) => assert_eq!(found, expect, "{sql}"),
        Err(error) => panic!("{sql}: {} {error}", error.state().code()),
    }
}

async fn refused(sql: &str, state: SqlState) -> Error {
    let error = ask(&context(), sql).await.expect_err(sql);
    assert_eq!(error.state(), state, "{sql}: {error}");
    error
}

#[tokio::test]
async fn sums_have_the_type_and_the_room_that_they_have_in_postgres() {
    let t = "(VALUES (1,1),(1,2),(2,NULL),(1,3)) t(k,v)";
    for (argument, sum, avg) in [
        ("v::int", "Int64", "Decimal128(38, 16)"),
        ("v::bigint", "Decimal128(38, 0)", "Decimal128(38, 16)"),
        ("v::real", "Float32", "Float64"),
        ("v::decimal(5,2)", "Decimal128(38, 2)", "Decimal128(38, 16)"),
    ] {
        let sql =
            format!("SELECT arrow_typeof(sum({argument})), arrow_typeof(avg({argument})) FROM {t}");
        check(&sql, &[&format!("{sum}|{avg}")]).await;
    }
    check(
        &format!(
            "SELECT k, sum(v), avg(v), sum(v) FILTER (WHERE v > 1) s, count(*) FROM {t} GROUP BY k ORDER BY k"
        ),
        &["1|6|2.0000000000000000|5|3", "2|∅|∅|∅|1"],
    )
    .await;
    check(
        "SELECT sum(x), avg(x) FROM (VALUES (9223372036854775807),(9223372036854775807)) t(x)",
        &["18446744073709551614|9223372036854775807.0000000000000000"],
    )
    .await;
    check("SELECT avg(x) FROM (VALUES (1),(2),(2)) t(x)", &["1.6666666666666667"]).await;
    check("SELECT sum(DISTINCT x), avg(DISTINCT x), sum(DISTINCT y), sum(y::int) FROM (VALUES (1,5),(2,5),(2,5)) t(x,y)", &["3|1.5000000000000000|5|15"]).await;
    check(
        "SELECT count(DISTINCT x), sum(y::int) FROM (VALUES (1,5),(2,5),(2,5)) t(x,y)",
        &["2|15"],
    )
    .await;
    check("SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM (VALUES (1),(2),(4)) t(x)", &["1", "3", "6"]).await;
    check("SELECT sum(x) FROM (VALUES (1)) t(x) WHERE false", &["∅"]).await;
    check(
        "SELECT sum(i), avg(i) FROM (VALUES (INTERVAL '1 month'),(INTERVAL '2 days')) t(i)",
        &["1 mons 2 days|16 days"],
    )
    .await;
    check(
        "SELECT sum(x) FROM (VALUES ('99999999999999999999999999999999999999'::decimal(38,0)),(1)) t(x)",
        &["100000000000000000000000000000000000000"],
    )
    .await;
    refused("SELECT sum(x) FROM (VALUES ('a')) t(x)", SqlState::UndefinedFunction).await;
}

#[tokio::test]
async fn integers_do_not_wrap() {
    for sql in [
        "SELECT 9223372036854775807 + 1",
        "SELECT x + 1 FROM (VALUES (9223372036854775807)) t(x)",
        "SELECT x * x FROM (VALUES (9223372036854775807)) t(x)",
        "SELECT -x - 2 FROM (VALUES (9223372036854775807)) t(x)",
        "SELECT -(x - 1) FROM (VALUES (-9223372036854775807)) t(x)",
        "SELECT x::int FROM (VALUES (9223372036854775807)) t(x)",
        "SELECT sum(x + x) FROM (VALUES (9223372036854775807)) t(x)",
        "SELECT 1 FROM (VALUES (9223372036854775807)) t(x) WHERE x + 1 > 0",
        "SELECT 1 FROM (VALUES (9223372036854775807)) t(x) WHERE x IN (SELECT y + 1 FROM (VALUES (9223372036854775807)) u(y))",
    ] {
        refused(sql, SqlState::OutOfRange).await;
    }
    refused("SELECT 1 / x FROM (VALUES (0)) t(x)", SqlState::DivisionByZero).await;
    refused("SELECT 1 % x FROM (VALUES (0)) t(x)", SqlState::DivisionByZero).await;
    check(
        "SELECT x + 1, x * 2, -x, x - x, 7 / 2, -7 / 2, 1 + 2 FROM (VALUES (3), (NULL)) t(x)",
        &["4|6|-3|0|3|-3|3", "∅|∅|∅|∅|3|-3|3"],
    )
    .await;
    check("SELECT x + 1 AS y, count(*) FROM (VALUES (3),(3)) t(x) GROUP BY x + 1 HAVING x + 1 > 3 ORDER BY x + 1", &["4|2"]).await;
}

#[tokio::test]
async fn a_checked_operator_names_its_column_as_the_operator_does() {
    let plain = SessionContext::new();
    for sql in [
        "SELECT x + 1, -x, (x - 1) * 2 FROM (VALUES (3)) t(x)",
        "SELECT sum(x + 1) FROM (VALUES (3)) t(x)",
    ] {
        let names = async |context: &SessionContext| {
            let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
            batches[0].schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&context()).await, names(&plain).await);
    }
}

#[tokio::test]
async fn no_function_makes_a_gigabyte() {
    for sql in [
        "SELECT repeat('x', 1000000000)",
        "SELECT repeat(x, 1000000000) FROM (VALUES ('x')) t(x)",
        "SELECT lpad('x', 1000000000, 'y')",
        "SELECT rpad('x', 1000000000, 'y')",
        "SELECT repeat('x', 60000000) || repeat(x, 60000000) FROM (VALUES ('x')) t(x)",
        "SELECT concat(repeat('x', 60000000), repeat('x', 60000000))",
        "SELECT replace(repeat('x', 100000), 'x', repeat('y', 100000))",
    ] {
        refused(sql, SqlState::ProgramLimit).await;
    }
    check("SELECT repeat('ab', 3), lpad('x', 3, 'y'), rpad('x', 3), repeat('x', -1), concat('a', NULL, 'b'), concat_ws('-', 'a', 'b'), 'a' || 'b', 'a' || NULL", &["ababab|yyx|x  ||ab|a-b|ab|∅"]).await;
}

#[tokio::test]
async fn text_functions_of_flink_are_there() {
    check("SELECT split_index('a/b//c', '/', 1), split_index('a/b//c', '/', 2), split_index('a', '/', 1), split_index(NULL, '/', 1)", &["b||∅|∅"]).await;
    check("SELECT regexp_extract('channel_id=42&x', '(&|^)channel_id=([^&]*)', 2), regexp_extract('abc', 'x'), regexp_extract('abc', 'b.')", &["42|∅|bc"]).await;
    refused("SELECT regexp_extract('abc', '(')", SqlState::BadArgument).await;
}

#[tokio::test]
async fn moments_become_text_and_text_moments() {
    let ts = "TIMESTAMP '2015-07-05 03:04:05.678901'";
    check(&format!("SELECT to_char({ts}, 'YYYY-MM-DD HH24:MI:SS.MS'), to_char({ts}, 'FMDD Mon YY, FMHH12:MI:SS.US pm'), to_char({ts}, 'Day|FMDay|MONTH|Q|DDD|IW|D \"YYYY\"')"), &[
        "2015-07-05 03:04:05.678|5 Jul 15, 3:04:05.678901 am|Sunday   |Sunday|JULY     |3|186|27|1 YYYY",
    ]).await;
    check(&format!("SELECT date_format({ts}, 'yyyy-MM-dd HH:mm:ss'), date_format({ts}, 'd MMM yy EEE ''at'' h:mm a'), to_char(DATE '2024-02-29', 'YYYYMMDD')"), &[
        "2015-07-05 03:04:05|5 Jul 15 Sun at 3:04 AM|20240229",
    ]).await;
    check(&format!("SELECT hour({ts}), minute({ts}), second({ts}), day({ts}), month({ts}), year({ts}), extract(hour FROM {ts})"), &["3|4|5|5|7|2015|3"]).await;
    check("SELECT to_timestamp('05 Dec 2000 11:30 pm', 'DD Mon YYYY HH12:MI am'), to_timestamp('20150705030405', 'YYYYMMDDHH24MISS'), to_timestamp(1.5)", &[
        "2000-12-05T23:30:00Z|2015-07-05T03:04:05Z|1970-01-01T00:00:01.500Z",
    ]).await;
    refused("SELECT to_timestamp('2015-13-01', 'YYYY-MM-DD')", SqlState::DatetimeOverflow).await;
    refused(&format!("SELECT date_format({ts}, 'nope')"), SqlState::BadArgument).await;
    check(&format!("SELECT date_trunc('hour', {ts})"), &["2015-07-05T03:00:00"]).await;
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let version = ask(&context(), "SELECT version()").await.unwrap();
    assert!(version[0].starts_with("PostgreSQL 15"), "{version:?}");
    check("SELECT current_database()", &["tidemill"]).await;
    refused("SELECT pg_sleep(1)", SqlState::NotSupported).await;
    check("SELECT * FROM generate_series(1, 3)", &["1", "2", "3"]).await;
}

#[tokio::test]
async fn functions_without_a_fixed_answer_are_found() {
    let find = async |sql: &str| {
        let plan = context().sql(sql).await.unwrap().into_unoptimized_plan();
        plan.expressions().iter().find_map(random_function)
    };
    assert_eq!(find("SELECT 1 + random()").await.as_deref(), Some("random"));
    assert_eq!(find("SELECT uuid()").await.as_deref(), Some("uuid"));
    assert_eq!(find("SELECT abs(1)").await, None);
}
