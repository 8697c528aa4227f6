//! The queries that the simulation draws from: an operator is added by adding a line.
//!
//! In a query `{W}` stands for a window function over a stream (with columns `window_start`,
//! `window_end`), `{S}` for the stream, `{Z}` for its sessions by k, `{B}` for it where a condition bounds event times or OVER goes by them, `{D}` for the static table with `{J}` as the condition that
//! joins it to `x`, `{T}` for that table where it is followed, and `{V}` for another view. Every shape has columns `k` and `n`, so that each
//! may stand on each. DataFusion is asked the same over finite tables.

/// What a query reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Windows of a stream.
    Windows,
    /// The rows of a stream.
    Rows,
    /// The rows of a stream that are not behind its watermark.
    Bounded,
    /// Those of them that the watermark has passed since, in the order of their time.
    Passed,
    /// Another view.
    View,
}

/// A query of a view.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub over: Over,
    pub sql: &'static str,
}

impl Shape {
    /// Whether it looks rows up in the static table.
    pub fn joins(&self) -> bool {
        self.sql.contains("{D}")
    }
}

const fn windows(name: &'static str, sql: &'static str) -> Shape {
    Shape { name, over: Over::Windows, sql }
}

const fn rows(name: &'static str, sql: &'static str) -> Shape {
    Shape { name, over: Over::Rows, sql }
}

const fn bounded(name: &'static str, sql: &'static str) -> Shape {
    Shape { name, over: Over::Bounded, sql }
}

const fn passed(name: &'static str, sql: &'static str) -> Shape {
    Shape { name, over: Over::Passed, sql }
}

const fn view(name: &'static str, sql: &'static str) -> Shape {
    Shape { name, over: Over::View, sql }
}

pub const SHAPES: &[Shape] = &[
    windows(
        "count per window",
        "SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k",
    ),
    windows(
        "sum, least and greatest per window",
        "SELECT window_start, window_end, k, CAST(sum(v) AS BIGINT) AS n, min(v) AS lo, max(v) AS hi FROM {W} GROUP BY window_start, window_end, k",
    ),
    windows(
        "distinct values per window",
        "SELECT window_start, window_end, k, count(DISTINCT v) AS n FROM {W} GROUP BY window_start, window_end, k",
    ),
    windows(
        "windows with enough rows",
        "SELECT window_start, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k HAVING count(*) > 1",
    ),
    windows(
        "windows without a key",
        "SELECT window_end, max(k) AS k, count(*) AS n, avg(v) AS a FROM {W} GROUP BY window_start, window_end",
    ),
    windows(
        "the most of each window",
        "SELECT window_end, max(k) AS k, max(n) AS n, count(*) AS c FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q GROUP BY window_end",
    ),
    windows("rows in their windows", "SELECT window_start, id, k, v AS n FROM {W} WHERE v > 0"),
    windows(
        "windows of rows looked up",
        "SELECT window_start, window_end, d.name AS k, count(*) AS n FROM {W} AS x JOIN {D} AS d ON {J} GROUP BY window_start, window_end, d.name",
    ),
    windows(
        "count per session",
        "SELECT window_start, window_end, k, count(*) AS n FROM {Z} GROUP BY window_start, window_end, k",
    ),
    windows("rows in their sessions", "SELECT window_end, id, k, v AS n FROM {Z} WHERE v > 0"),
    rows("filter", "SELECT id, k, v AS n FROM {S} WHERE v > 10"),
    rows(
        "rows that leave",
        "SELECT id, k, v AS n FROM {S} WHERE to_timestamp_millis(1700000000000 + v * 1000) > now() - INTERVAL '1 second'",
    ),
    rows(
        "rows that come, and leave soon",
        "SELECT id, k, v AS n FROM {S} WHERE to_timestamp_millis(1700000000000 + v * 1000) BETWEEN now() - INTERVAL '20 seconds' AND now()",
    ),
    rows(
        "count of rows that leave",
        "SELECT k, count(*) AS n, max(v) AS hi FROM {S} WHERE to_timestamp_millis(1700000000000 + v * 1000) > now() GROUP BY k",
    ),
    rows(
        "rows of this minute",
        "SELECT id, k, v AS n FROM {S} WHERE date_trunc('minute', to_timestamp_millis(1700000000000 + v * 1000)) = date_trunc('minute', now())",
    ),
    rows("projection", "SELECT id, upper(k) AS k, v + 1 AS n FROM {S}"),
    rows(
        "rows looked up",
        "SELECT x.id, d.name AS k, x.v * d.f AS n FROM {S} AS x JOIN {D} AS d ON {J}",
    ),
    rows(
        "rows looked up or not",
        "SELECT x.id, d.name AS k, x.v AS n FROM {S} AS x LEFT JOIN {D} AS d ON {J}",
    ),
    rows(
        "rows joined with rows",
        "SELECT l.id * 1000 + r.id AS id, l.k, r.v AS n FROM {S} AS l JOIN {S} AS r ON l.k = r.k AND l.v < r.v",
    ),
    rows(
        "rows joined or not",
        "SELECT l.id, l.k, max(r.v) AS n FROM {S} AS l LEFT JOIN {S} AS r ON l.k = r.k AND r.id < l.id GROUP BY l.id, l.k",
    ),
    rows(
        "the greatest of each key",
        "SELECT k, id, v AS n FROM (SELECT k, id, v, row_number() OVER (PARTITION BY k ORDER BY v DESC NULLS LAST, id) AS r FROM {S}) AS q WHERE r <= 2",
    ),
    rows(
        "the second and third of each key, numbered",
        "SELECT k, id, CAST(r AS BIGINT) AS n FROM (SELECT k, id, row_number() OVER (PARTITION BY k ORDER BY v, id DESC) AS r FROM {S}) AS q WHERE r > 1 AND r <= 3",
    ),
    rows(
        "those that share the first ranks",
        "SELECT k, id, CAST(r AS BIGINT) AS n FROM (SELECT k, id, rank() OVER (PARTITION BY g ORDER BY v DESC) AS r FROM {S}) AS q WHERE r <= 3",
    ),
    rows(
        "the newest of each key",
        "SELECT DISTINCT ON (k) k, id, v AS n FROM {S} ORDER BY k, id DESC",
    ),
    rows("the least of all", "SELECT id, k, v AS n FROM {S} ORDER BY v, id LIMIT 3"),
    rows(
        "two in one",
        "SELECT k, v AS n FROM {S} WHERE v > 10 UNION ALL SELECT upper(k) AS k, v AS n FROM {S} WHERE v < 20",
    ),
    rows(
        "keys that are not in the other",
        "SELECT k, count(*) AS n FROM {S} AS l WHERE NOT EXISTS (SELECT 1 FROM {S} AS r WHERE r.k = l.k AND r.v > 20) GROUP BY k",
    ),
    windows(
        "ranks of each window",
        "SELECT window_start, window_end, k, id, CAST(row_number() OVER (PARTITION BY window_start, window_end ORDER BY v DESC NULLS LAST, id) AS BIGINT) AS n FROM {W}",
    ),
    rows(
        "keys of a table with how many rows",
        "SELECT t.k, count(s.id) AS n FROM {T} AS t LEFT JOIN {S} AS s ON s.k = t.k GROUP BY t.k",
    ),
    rows(
        "rows whose group no row of a table has",
        "SELECT id, k, v AS n FROM {S} WHERE g NOT IN (SELECT f FROM {T})",
    ),
    bounded(
        "rows joined within seconds",
        "SELECT l.id * 1000 + r.id AS id, l.k, r.v AS n FROM {B} AS l JOIN {B} AS r ON l.k = r.k AND r.ts BETWEEN l.ts AND l.ts + INTERVAL '4 seconds'",
    ),
    bounded(
        "rows joined within seconds or not",
        "SELECT l.id, coalesce(l.k, r.k) AS k, r.v AS n FROM {B} AS l FULL JOIN {B} AS r ON l.k = r.k AND r.ts > l.ts AND r.ts < l.ts + INTERVAL '3 seconds' WHERE coalesce(l.ts, r.ts) IS NOT NULL",
    ),
    bounded(
        "rows that none follows within seconds",
        "SELECT id, k, v AS n FROM {B} AS l WHERE ts IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {B} AS r WHERE r.g = l.g AND r.ts > l.ts AND r.ts < l.ts + INTERVAL '3 seconds')",
    ),
    passed(
        "each row with those before it",
        "SELECT id, k, CAST(sum(v) OVER (PARTITION BY k ORDER BY ts, id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS BIGINT) AS n, lag(id) OVER (PARTITION BY k ORDER BY ts, id) AS a FROM {B}",
    ),
    passed(
        "each row with the seconds before it",
        "SELECT id, k, count(*) OVER (PARTITION BY g ORDER BY ts RANGE BETWEEN INTERVAL '3 seconds' PRECEDING AND CURRENT ROW) AS n FROM {B}",
    ),
    passed(
        "rows that another has followed",
        "SELECT id, k, n FROM (SELECT id, k, ts, lead(id) OVER (PARTITION BY k ORDER BY ts, id) AS n, lead(ts) OVER (PARTITION BY k ORDER BY ts, id) AS after FROM {B}) AS q WHERE after > ts",
    ),
    passed(
        "rows in the order of their time",
        "SELECT id, k, CAST(row_number() OVER (ORDER BY ts, id) AS BIGINT) AS n FROM {B}",
    ),
    rows("running count", "SELECT k, count(*) AS n FROM {S} GROUP BY k"),
    rows(
        "running aggregates",
        "SELECT k, CAST(sum(v) AS BIGINT) AS n, min(v) AS lo, max(v) AS hi, avg(v) AS a FROM {S} GROUP BY k",
    ),
    rows("running total", "SELECT max(k) AS k, count(*) AS n, sum(v) AS a FROM {S}"),
    rows("running distinct values", "SELECT k, count(DISTINCT v) AS n FROM {S} GROUP BY k"),
    rows(
        "running count that leaves HAVING",
        "SELECT k, count(*) AS n FROM {S} GROUP BY k HAVING count(*) < 4",
    ),
    rows(
        "running count of rows looked up",
        "SELECT d.name AS k, count(*) AS n FROM {S} AS x JOIN {D} AS d ON {J} GROUP BY d.name",
    ),
    rows(
        "counts of counts",
        "SELECT max(k) AS k, n AS a, count(*) AS n FROM (SELECT k, count(*) AS n FROM {S} GROUP BY k) AS q GROUP BY n",
    ),
    view(
        "rows of a view that leave",
        "SELECT k, n FROM {V} WHERE to_timestamp_millis(1700000000000 + n * 1000) > now()",
    ),
    view("filter over a view", "SELECT k, n + 1 AS n FROM {V} WHERE n > 1"),
    view("count over a view", "SELECT k, count(*) AS n FROM {V} GROUP BY k"),
    view("sum over a view", "SELECT k, CAST(sum(n) AS BIGINT) AS n FROM {V} GROUP BY k"),
    view("the greatest of a view", "SELECT k, n FROM {V} ORDER BY n DESC NULLS LAST, k LIMIT 3"),
    view(
        "the least of each key of a view",
        "SELECT k, n FROM (SELECT k, n, row_number() OVER (PARTITION BY k ORDER BY n) AS r FROM {V}) AS q WHERE r <= 2",
    ),
    view("total over a view", "SELECT 'all' AS k, count(n) AS n FROM {V}"),
];
