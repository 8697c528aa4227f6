//! The queries of the property test.
//!
//! In `engine`, `{W}` stands for a window function over the stream, in a random spelling, `{WF}`
//! for one over a filtered subquery, `{GW}` for a group window with its `{GS}` and `{GE}`, `{Z}` for sessions by k, `{S}`
//! for the stream and `{D}` for the static table. The oracle's `w`, `s` and `d` take their places;
//! where more differs, `oracle` says it in full.

/// How a query may be run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Over windows: snapshot, EMIT CHANGES and EMIT ON WINDOW CLOSE.
    Windowed,
    /// Row by row: the same three.
    Stateless,
    /// Aggregates without a window: snapshot and EMIT CHANGES.
    Running,
    /// Joins within bounds of event time, for which `{S}` has the rows that are not behind the
    /// watermark: as row by row.
    Bounded,
}

/// A query, and the same query over finite tables.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub kind: Kind,
    pub engine: &'static str,
    /// Empty: as `engine`.
    pub oracle: &'static str,
}

impl Shape {
    /// Group windows have no offset.
    pub fn takes_offset(&self) -> bool {
        !self.engine.contains("{GW}")
    }

    /// Whether its windows may be those of CUMULATE, of which several have one start: what is grouped
    /// by that alone is only known when the last of them has closed, and the oracle counts those that
    /// have.
    pub fn may_grow(&self) -> bool {
        let by_start = ["{W} GROUP BY window_start", " GROUP BY n, window_start"];
        self.takes_offset() && !by_start.iter().any(|end| self.engine.ends_with(end))
    }

    /// In which result column the window's end is, where that is certain.
    pub fn window_end_column(&self) -> Option<usize> {
        let list = self.engine.strip_prefix("SELECT window_start, window_end,");
        list.map(|_| 1)
    }
}

const fn windowed(name: &'static str, engine: &'static str) -> Shape {
    Shape { name, kind: Kind::Windowed, engine, oracle: "" }
}

const fn stateless(name: &'static str, engine: &'static str) -> Shape {
    Shape { name, kind: Kind::Stateless, engine, oracle: "" }
}

const fn running(name: &'static str, engine: &'static str) -> Shape {
    Shape { name, kind: Kind::Running, engine, oracle: "" }
}

const fn bounded(name: &'static str, engine: &'static str) -> Shape {
    Shape { name, kind: Kind::Bounded, engine, oracle: "" }
}

const fn differing(name: &'static str, engine: &'static str, oracle: &'static str) -> Shape {
    Shape { name, kind: Kind::Windowed, engine, oracle }
}

/// All of them, each with a name of its own.
pub const SHAPES: &[Shape] = &[
    windowed(
        "count",
        "SELECT window_start, window_end, count(*) AS n FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "count by key",
        "SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "sum by key",
        "SELECT window_start, window_end, k, sum(v) AS a FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "count, min and max of a column",
        "SELECT window_start, window_end, g, count(v) AS a, min(v) AS b, max(v) AS c FROM {W} GROUP BY window_start, window_end, g",
    ),
    windowed(
        "avg of integers",
        "SELECT window_start, window_end, k, avg(v) AS a FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "sum and avg of floats",
        "SELECT window_start, window_end, sum(x) AS a, avg(x) AS b, min(x) AS c, max(x) AS d FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "count with FILTER",
        "SELECT window_start, window_end, k, count(*) FILTER (WHERE v > 10) AS a, count(*) AS b FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "sum with FILTER on a boolean",
        "SELECT window_start, window_end, sum(v) FILTER (WHERE b) AS a, min(v) FILTER (WHERE NOT b) AS c FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "count DISTINCT of text",
        "SELECT window_start, window_end, count(DISTINCT k) AS a FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "count DISTINCT beside count",
        "SELECT window_start, window_end, k, count(DISTINCT v) AS a, count(v) AS b FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "sum DISTINCT",
        "SELECT window_start, window_end, g, sum(DISTINCT v) AS a FROM {W} GROUP BY window_start, window_end, g",
    ),
    windowed(
        "HAVING",
        "SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k HAVING count(*) > 2",
    ),
    windowed(
        "HAVING on another aggregate",
        "SELECT window_start, window_end, k FROM {W} GROUP BY window_start, window_end, k HAVING max(v) > 30 AND sum(v) IS NOT NULL",
    ),
    windowed(
        "WHERE",
        "SELECT window_start, window_end, k, count(*) AS n FROM {W} WHERE v > 0 GROUP BY window_start, window_end, k",
    ),
    windowed(
        "WHERE on text and a list",
        "SELECT window_start, window_end, k, g, sum(v) AS a FROM {W} WHERE k IS NOT NULL AND g IN (0, 1) GROUP BY window_start, window_end, k, g",
    ),
    windowed(
        "WHERE with LIKE or IS NULL",
        "SELECT window_start, window_end, count(*) AS a FROM {W} WHERE k LIKE '%a%' OR v IS NULL GROUP BY window_start, window_end",
    ),
    windowed(
        "WHERE on the window",
        "SELECT window_start, window_end, count(*) AS a FROM {W} WHERE window_start >= TIMESTAMP '1970-01-01 00:00:00' GROUP BY window_start, window_end",
    ),
    windowed(
        "key of an expression",
        "SELECT window_start, window_end, v % 3 AS m, count(*) AS n FROM {W} GROUP BY window_start, window_end, v % 3",
    ),
    windowed(
        "key of a CASE",
        "SELECT window_start, window_end, CASE WHEN v > 50 THEN 'many' WHEN v > 0 THEN 'some' ELSE 'none' END AS class, count(*) AS n FROM {W} GROUP BY window_start, window_end, CASE WHEN v > 50 THEN 'many' WHEN v > 0 THEN 'some' ELSE 'none' END",
    ),
    windowed(
        "key of a function",
        "SELECT window_start, window_end, upper(k) AS u, count(*) AS n FROM {W} GROUP BY window_start, window_end, upper(k)",
    ),
    windowed(
        "two keys",
        "SELECT window_start, window_end, k, g, count(*) AS n, sum(v) AS a FROM {W} GROUP BY window_start, window_end, k, g",
    ),
    windowed(
        "a boolean key",
        "SELECT window_start, window_end, b, count(*) AS n FROM {W} GROUP BY window_start, window_end, b",
    ),
    windowed(
        "keys by position",
        "SELECT window_start, window_end, g, count(*) AS n FROM {W} GROUP BY 1, 2, 3",
    ),
    windowed(
        "min and max of text",
        "SELECT window_start, window_end, g, min(k) AS a, max(k) AS c FROM {W} GROUP BY window_start, window_end, g",
    ),
    windowed(
        "min and max of time",
        "SELECT window_start, window_end, k, min(ts) AS a, max(ts) AS c FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "bool_and, bool_or",
        "SELECT window_start, window_end, g, bool_and(b) AS a, bool_or(b) AS c FROM {W} GROUP BY window_start, window_end, g",
    ),
    windowed(
        "deviation and variance",
        "SELECT window_start, window_end, k, stddev_pop(x) AS a, var_pop(x) AS c FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "bits",
        "SELECT window_start, window_end, bit_and(v) AS a, bit_or(v) AS c, bit_xor(v) AS e FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "median",
        "SELECT window_start, window_end, g, median(x) AS a FROM {W} GROUP BY window_start, window_end, g",
    ),
    windowed(
        "string_agg in order",
        "SELECT window_start, window_end, string_agg(k, '+' ORDER BY id) AS a FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "array_agg in order",
        "SELECT window_start, window_end, k, array_agg(v ORDER BY id) AS a FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "first and last in order",
        "SELECT window_start, window_end, k, first_value(v ORDER BY id) AS a, last_value(v ORDER BY id) AS c FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "aggregates of expressions",
        "SELECT window_start, window_end, k, sum(v * 2 + g) AS a, max(v) - min(v) AS c, coalesce(sum(v), 0) AS e FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "arithmetic over aggregates",
        "SELECT window_start, window_end, k, sum(v) * 1.0 / count(*) AS a, count(*) * 10 AS c FROM {W} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "only the window's start",
        "SELECT window_start, count(*) AS n FROM {W} GROUP BY window_start",
    ),
    windowed(
        "the window's time",
        "SELECT window_start, window_end, window_time, count(*) AS n FROM {W} GROUP BY window_start, window_end, window_time",
    ),
    windowed("no aggregate", "SELECT window_start, window_end, id, k, v FROM {W}"),
    windowed(
        "no aggregate, filtered",
        "SELECT window_start, window_end, id, v + 1 AS a FROM {W} WHERE g = 1",
    ),
    windowed("SELECT DISTINCT", "SELECT DISTINCT window_start, window_end, k FROM {W}"),
    windowed(
        "a query over the aggregate",
        "SELECT window_start, k, n * 2 AS m FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q WHERE n >= 2",
    ),
    windowed(
        "window over a CTE's result",
        "WITH q AS (SELECT window_start, window_end, g, sum(v) AS a FROM {W} GROUP BY window_start, window_end, g) SELECT window_end, g, a + 1 AS c FROM q WHERE a IS NOT NULL",
    ),
    windowed(
        "joined with a table before",
        "SELECT window_start, window_end, d.name, count(*) AS n, sum(w.v * d.f) AS a FROM {W} AS w JOIN {D} AS d ON w.k = d.k GROUP BY window_start, window_end, d.name",
    ),
    windowed(
        "left joined with a table before",
        "SELECT window_start, window_end, d.name, count(*) AS n, count(d.f) AS m FROM {W} AS w LEFT JOIN {D} AS d ON w.k = d.k GROUP BY window_start, window_end, d.name",
    ),
    windowed(
        "joined with a table after",
        "SELECT q.window_start, q.k, q.n, d.name FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q JOIN {D} AS d ON q.k = d.k",
    ),
    windowed(
        "left joined with a table after",
        "SELECT q.window_start, q.k, q.n, d.name, q.n * d.f AS m FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q LEFT JOIN {D} AS d ON q.k = d.k",
    ),
    windowed(
        "the most of each window",
        "SELECT window_start, window_end, max(n) AS m, count(*) AS c, min(k) AS k FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q GROUP BY window_start, window_end",
    ),
    windowed(
        "counts of counts by the window's end",
        "SELECT window_end, n, count(*) AS c FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q GROUP BY window_end, n",
    ),
    windowed(
        "counts of counts by the window's start",
        "SELECT n, window_start, count(*) AS c, sum(n) AS s FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q WHERE n > 1 GROUP BY n, window_start",
    ),
    windowed(
        "the most by the window's time",
        "SELECT window_time, max(n) AS m FROM (SELECT window_start, window_end, window_time, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, window_time, k) AS q GROUP BY window_time",
    ),
    windowed(
        "all sets of two columns",
        "SELECT window_start, window_end, g, b, grouping(g) AS i, count(*) AS n, sum(v) AS a FROM {W} GROUP BY window_start, window_end, CUBE (g, b)",
    ),
    windowed(
        "SELECT DISTINCT over an aggregate",
        "SELECT DISTINCT window_start, window_end, n FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q",
    ),
    windowed(
        "three aggregates deep",
        "SELECT window_end, sum(c) AS s, max(n) AS m FROM (SELECT window_start, window_end, n, count(*) AS c FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q GROUP BY window_start, window_end, n) AS r WHERE c < 5 GROUP BY window_end",
    ),
    windowed(
        "joined with a table between aggregates",
        "SELECT q.window_end, d.name, sum(q.n) AS n, count(*) AS c FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q JOIN {D} AS d ON q.k = d.k GROUP BY q.window_end, d.name",
    ),
    differing(
        "over a filtered subquery",
        "SELECT window_start, window_end, k, count(*) AS n FROM {WF} GROUP BY window_start, window_end, k",
        "SELECT window_start, window_end, k, count(*) AS n FROM w WHERE v > 0 GROUP BY window_start, window_end, k",
    ),
    differing(
        "group window",
        "SELECT {GS} AS a, {GE} AS z, k, count(*) AS n, sum(v) AS s FROM {S} GROUP BY {GW}, k",
        "SELECT window_start AS a, window_end AS z, k, count(*) AS n, sum(v) AS s FROM w GROUP BY window_start, window_end, k",
    ),
    differing(
        "group window alone",
        "SELECT {GS} AS a, max(v) AS m FROM {S} WHERE g >= 0 GROUP BY {GW} HAVING count(*) > 1",
        "SELECT window_start AS a, max(v) AS m FROM w WHERE g >= 0 GROUP BY window_start, window_end HAVING count(*) > 1",
    ),
    stateless("filter", "SELECT id, k, v FROM {S} WHERE v > 10 AND k IS NOT NULL"),
    stateless(
        "projection",
        "SELECT id, upper(k) AS u, coalesce(v, -1) + 1 AS a, x * 2 AS c, ts FROM {S}",
    ),
    stateless(
        "rows joined with a table",
        "SELECT s.id, s.k, d.name FROM {S} AS s JOIN {D} AS d ON s.k = d.k WHERE s.v IS NOT NULL",
    ),
    stateless(
        "rows left joined with a table",
        "SELECT s.id, s.k, d.name, s.v * d.f AS a FROM {S} AS s LEFT JOIN {D} AS d ON s.k = d.k",
    ),
    windowed(
        "rank in a window",
        "SELECT window_start, window_end, id, k, row_number() OVER (PARTITION BY window_start, window_end ORDER BY v DESC NULLS LAST, id) AS n FROM {W}",
    ),
    windowed(
        "the first two of each window and key",
        "SELECT window_start, window_end, k, id, v FROM (SELECT window_start, window_end, k, id, v, row_number() OVER (PARTITION BY window_start, window_end, k ORDER BY v, id) AS n FROM {W}) AS q WHERE n <= 2",
    ),
    windowed(
        "the largest counts of each window",
        "SELECT window_start, window_end, k, n FROM (SELECT window_start, window_end, k, count(*) AS n, rank() OVER (PARTITION BY window_start, window_end ORDER BY count(*) DESC) AS r FROM {W} GROUP BY window_start, window_end, k) AS q WHERE r <= 2",
    ),
    windowed(
        "a window joined with itself",
        "SELECT l.window_start, l.window_end, l.id AS a, r.id AS b FROM {W} AS l JOIN {W} AS r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.k = r.k AND l.v < r.v",
    ),
    windowed(
        "a window left joined",
        "SELECT l.window_start, l.window_end, l.id AS a, r.id AS b FROM {W} AS l LEFT JOIN {W} AS r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.g = r.g AND r.v > 50",
    ),
    windowed(
        "counts of a window joined",
        "SELECT l.window_start, l.window_end, l.k, l.n, r.m FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS l FULL JOIN (SELECT window_start, window_end, k, max(v) AS m FROM {W} WHERE v > 0 GROUP BY window_start, window_end, k) AS r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.k = r.k",
    ),
    windowed(
        "windows of a union",
        "SELECT window_start, window_end, k, count(*) AS n FROM (SELECT window_start, window_end, k FROM {W} WHERE v > 0 UNION ALL SELECT window_start, window_end, k FROM {W} WHERE g > 0) AS q GROUP BY window_start, window_end, k",
    ),
    windowed(
        "a union of counts",
        "SELECT k AS name, window_start, window_end, count(*) AS n FROM {W} GROUP BY window_start, window_end, k UNION ALL SELECT 'all' AS name, window_start, window_end, count(*) AS n FROM {W} GROUP BY window_start, window_end",
    ),
    windowed(
        "sums over a window's counts",
        "SELECT window_start, window_end, k, n, sum(n) OVER (PARTITION BY window_end) AS s FROM (SELECT window_start, window_end, k, count(*) AS n FROM {W} GROUP BY window_start, window_end, k) AS q",
    ),
    windowed(
        "keys of one window only",
        "SELECT l.window_start, l.window_end, l.id FROM {W} AS l WHERE NOT EXISTS (SELECT 1 FROM {W} AS r WHERE r.window_start = l.window_start AND r.window_end = l.window_end AND r.k = l.k AND r.id < l.id)",
    ),
    running("running count", "SELECT k, count(*) AS n FROM {S} GROUP BY k"),
    running(
        "running aggregates",
        "SELECT g, sum(v) AS a, min(v) AS c, max(v) AS e, avg(v) AS f, count(x) AS h FROM {S} GROUP BY g",
    ),
    running("running total of all", "SELECT count(*) AS n, sum(v) AS a, max(k) AS c FROM {S}"),
    running(
        "running count with HAVING",
        "SELECT k, count(*) AS n FROM {S} GROUP BY k HAVING count(*) >= 3",
    ),
    running(
        "running count that leaves HAVING",
        "SELECT k, count(*) AS n FROM {S} GROUP BY k HAVING count(*) < 4",
    ),
    running(
        "running DISTINCT and FILTER",
        "SELECT g, count(DISTINCT k) AS a, count(*) FILTER (WHERE b) AS c FROM {S} GROUP BY g",
    ),
    running(
        "running join with a table",
        "SELECT d.name, count(*) AS n, sum(s.v * d.f) AS a FROM {S} AS s JOIN {D} AS d ON s.k = d.k GROUP BY d.name",
    ),
    running(
        "query over a running aggregate",
        "SELECT k, n + 1 AS m FROM (SELECT k, count(*) AS n FROM {S} WHERE v > 0 GROUP BY k) AS q WHERE n > 1",
    ),
    running(
        "totals and a grand total",
        "SELECT g, k, grouping(g, k) AS i, count(*) AS n, max(v) AS a FROM {S} GROUP BY ROLLUP (g, k)",
    ),
    running(
        "sets of a changing aggregate",
        "SELECT n, a > 0 AS p, count(*) AS c FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q GROUP BY GROUPING SETS ((n), (a > 0), (n, a > 0))",
    ),
    running(
        "counts of counts",
        "SELECT n, count(*) AS c, min(k) AS lo, max(a) AS hi FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q GROUP BY n",
    ),
    running(
        "greatest of sums",
        "SELECT max(a) AS m, sum(n) AS n, count(*) AS c FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q WHERE n < 9",
    ),
    running(
        "three running aggregates deep",
        "SELECT c, count(*) AS d, sum(n) AS n FROM (SELECT n, count(*) AS c FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q GROUP BY n) AS r GROUP BY c",
    ),
    running(
        "DISTINCT over a running aggregate",
        "SELECT DISTINCT n FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q WHERE a > 0",
    ),
    running(
        "joined with a table between running aggregates",
        "SELECT d.name, sum(q.n) AS n, count(*) AS c FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q JOIN {D} AS d ON q.k = d.k GROUP BY d.name",
    ),
    running(
        "a stream joined with itself",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l JOIN {S} AS r ON l.k = r.k AND l.v < r.v",
    ),
    running(
        "a full join",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l FULL JOIN {S} AS r ON l.id = r.v AND l.g = r.g",
    ),
    running(
        "a left join without equal columns",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l LEFT JOIN {S} AS r ON l.v > r.v + 60",
    ),
    running(
        "an aggregate over a join",
        "SELECT l.k, count(*) AS n, sum(r.v) AS a FROM {S} AS l JOIN {S} AS r ON l.g = r.g AND l.id < r.id GROUP BY l.k",
    ),
    running(
        "a join of aggregates",
        "SELECT l.k, l.n, r.m FROM (SELECT k, count(*) AS n FROM {S} GROUP BY k) AS l LEFT JOIN (SELECT k, max(v) AS m FROM {S} WHERE v > 10 GROUP BY k) AS r ON l.k = r.k",
    ),
    running(
        "EXISTS",
        "SELECT id, k FROM {S} AS l WHERE EXISTS (SELECT 1 FROM {S} AS r WHERE r.k = l.k AND r.id > l.id)",
    ),
    running(
        "NOT EXISTS",
        "SELECT id, k FROM {S} AS l WHERE NOT EXISTS (SELECT 1 FROM {S} AS r WHERE r.k = l.k AND r.id > l.id)",
    ),
    running("IN", "SELECT id FROM {S} WHERE g IN (SELECT v % 3 FROM {S} WHERE v > 40)"),
    running("NOT IN", "SELECT id FROM {S} WHERE g NOT IN (SELECT v % 3 FROM {S} WHERE v > 70)"),
    running("a scalar subquery", "SELECT id, v - (SELECT max(v) FROM {S} WHERE b) AS d FROM {S}"),
    running("the rows at the average", "SELECT id, v FROM {S} WHERE v > (SELECT avg(v) FROM {S})"),
    running(
        "a correlated subquery",
        "SELECT id, k, (SELECT count(*) FROM {S} AS r WHERE r.k = l.k AND r.v > 0) AS n FROM {S} AS l",
    ),
    running(
        "a rank by key",
        "SELECT k, id, row_number() OVER (PARTITION BY k ORDER BY v DESC NULLS LAST, id) AS n FROM {S}",
    ),
    running(
        "the newest of each key",
        "SELECT k, id, v FROM (SELECT k, id, v, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS n FROM {S}) AS q WHERE n = 1",
    ),
    running(
        "sums over the rows before",
        "SELECT k, id, sum(v) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS a, lag(v) OVER (PARTITION BY k ORDER BY id) AS b FROM {S}",
    ),
    running(
        "OVER everything",
        "SELECT id, count(*) OVER () AS n, rank() OVER (ORDER BY g) AS r FROM {S}",
    ),
    running("the five least", "SELECT id, v FROM {S} ORDER BY v, id LIMIT 5"),
    running(
        "behind the three greatest",
        "SELECT id, v FROM {S} WHERE v IS NOT NULL ORDER BY v DESC, id LIMIT 4 OFFSET 3",
    ),
    running(
        "the keys with most rows",
        "SELECT k, count(*) AS n FROM {S} GROUP BY k ORDER BY n DESC, k LIMIT 2",
    ),
    running(
        "UNION ALL",
        "SELECT id, k FROM {S} WHERE v > 20 UNION ALL SELECT id, 'g' || CAST(g AS TEXT) FROM {S} WHERE g > 0",
    ),
    running("UNION", "SELECT k FROM {S} WHERE v > 20 UNION SELECT k FROM {S} WHERE g = 0"),
    running("EXCEPT", "SELECT k, g FROM {S} EXCEPT SELECT k, g FROM {S} WHERE v > 20"),
    running("INTERSECT", "SELECT k FROM {S} WHERE v > 20 INTERSECT SELECT k FROM {S} WHERE v < 0"),
    running(
        "counts of a union",
        "SELECT k, count(*) AS n FROM (SELECT k FROM {S} UNION ALL SELECT k FROM {S} WHERE b) AS q GROUP BY k",
    ),
    running(
        "DISTINCT ON",
        "SELECT DISTINCT ON (k) k, id, v FROM {S} ORDER BY k, v DESC NULLS LAST, id",
    ),
    running(
        "the two greatest of each key, and which is which",
        "SELECT k, v, n FROM (SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC NULLS LAST) AS n FROM {S}) AS q WHERE n <= 2",
    ),
    running(
        "the two least of each key",
        "SELECT k, v FROM (SELECT k, v, b, row_number() OVER (PARTITION BY k ORDER BY v NULLS FIRST) AS n FROM {S}) AS q WHERE n < 3",
    ),
    running(
        "the second and third of each key",
        "SELECT k, id, n + 1 AS m FROM (SELECT *, row_number() OVER (PARTITION BY k, g ORDER BY v, id DESC) AS n FROM {S}) AS q WHERE n BETWEEN 2 AND 3 AND v > 0",
    ),
    running(
        "all that share the first three ranks",
        "SELECT g, id, v, r FROM (SELECT *, rank() OVER (PARTITION BY g ORDER BY v % 7 DESC) AS r FROM {S}) AS q WHERE r <= 3",
    ),
    running(
        "all of the least two values",
        "SELECT id, v FROM (SELECT *, dense_rank() OVER (ORDER BY v NULLS FIRST) AS r FROM {S}) AS q WHERE 2 >= r AND g > 0",
    ),
    running("values behind the greatest", "SELECT v FROM {S} ORDER BY v DESC LIMIT 3 OFFSET 2"),
    running("all but the three least", "SELECT id, v FROM {S} ORDER BY v, id OFFSET 3"),
    running(
        "places of the keys with most rows",
        "SELECT k, n, r FROM (SELECT k, count(*) AS n, row_number() OVER (ORDER BY count(*) DESC, k) AS r FROM {S} GROUP BY k) AS q WHERE r <= 2",
    ),
    running(
        "the greatest sums of each group",
        "SELECT g, k, a FROM (SELECT g, k, a, rank() OVER (PARTITION BY g ORDER BY a DESC NULLS LAST) AS r FROM (SELECT g, k, sum(v) AS a FROM {S} GROUP BY g, k) AS p) AS q WHERE r <= 2",
    ),
    running(
        "DISTINCT ON over a running aggregate",
        "SELECT DISTINCT ON (n) n, k, a FROM (SELECT k, count(*) AS n, sum(v) AS a FROM {S} GROUP BY k) AS q ORDER BY n, k DESC",
    ),
    running(
        "sums of the three greatest of each key",
        "SELECT k, sum(v) AS a, count(*) AS c FROM (SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC NULLS LAST) AS n FROM {S}) AS q WHERE n <= 3 GROUP BY k",
    ),
    running(
        "an aggregate over a rank",
        "SELECT n, count(*) AS c, sum(v) AS a FROM (SELECT v, row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM {S}) AS q GROUP BY n",
    ),
    running(
        "three streams",
        "SELECT l.id AS a, m.id AS b, r.id AS c FROM {S} AS l JOIN {S} AS m ON l.k = m.k AND l.id < m.id JOIN {S} AS r ON m.g = r.g AND m.id < r.id AND r.v > 80",
    ),
    Shape {
        name: "EXCEPT ALL",
        kind: Kind::Running,
        engine: "SELECT k FROM {S} EXCEPT ALL SELECT k FROM {S} WHERE v > 20",
        oracle: "SELECT k FROM s WHERE v IS NULL OR v <= 20",
    },
    running("a table and its changes", "SELECT d.k, d.name, d.f FROM {D} AS d WHERE d.f > 1"),
    running(
        "rows of a table without rows of a stream",
        "SELECT d.k, d.name, s.id FROM {D} AS d LEFT JOIN {S} AS s ON s.k = d.k AND s.v > 90",
    ),
    windowed(
        "sessions",
        "SELECT window_start, window_end, k, count(*) AS n, sum(v) AS a FROM {Z} GROUP BY window_start, window_end, k",
    ),
    windowed(
        "rows in their sessions",
        "SELECT window_start, window_end, window_time, id, k FROM {Z}",
    ),
    windowed(
        "how many sessions end together",
        "SELECT window_end, count(*) AS c, max(n) AS n FROM (SELECT window_start, window_end, k, count(*) AS n FROM {Z} GROUP BY window_start, window_end, k) AS q GROUP BY window_end",
    ),
    windowed(
        "the first rows of each session",
        "SELECT window_start, window_end, k, id FROM (SELECT window_start, window_end, k, id, row_number() OVER (PARTITION BY window_start, window_end, k ORDER BY ts, id) AS r FROM {Z}) AS q WHERE r <= 2",
    ),
    Shape {
        name: "windows over all pairs",
        kind: Kind::Running,
        engine: "SELECT window_start, count(*) AS n, sum(a) AS m FROM TUMBLE((SELECT r.id AS a, l.ts FROM {S} AS l JOIN {S} AS r ON l.k = r.k AND l.g = r.g), ts, INTERVAL '5 seconds') GROUP BY window_start, window_end",
        oracle: "SELECT date_bin(INTERVAL '5 seconds', l.ts, TIMESTAMP '1970-01-01') AS window_start, count(*) AS n, sum(r.id) AS m FROM s AS l JOIN s AS r ON l.k = r.k AND l.g = r.g WHERE l.ts IS NOT NULL GROUP BY 1",
    },
    bounded(
        "pairs within seconds",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l JOIN {S} AS r ON l.k = r.k AND r.ts BETWEEN l.ts AND l.ts + INTERVAL '3 seconds' AND l.id <> r.id",
    ),
    bounded(
        "a partner whose difference is short",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l LEFT JOIN {S} AS r ON l.k = r.k AND r.ts - l.ts <= INTERVAL '2 seconds' AND INTERVAL '-1 second' < r.ts - l.ts AND l.id <> r.id WHERE l.ts IS NOT NULL",
    ),
    bounded(
        "pairs of one moment",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l JOIN {S} AS r ON l.ts = r.ts AND l.id < r.id",
    ),
    bounded(
        "a partner within seconds or none",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l LEFT JOIN {S} AS r ON l.g = r.g AND r.ts > l.ts AND r.ts <= l.ts + INTERVAL '2 seconds' AND r.v > 20 WHERE l.ts IS NOT NULL",
    ),
    bounded(
        "a partner around or none",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l RIGHT JOIN {S} AS r ON l.ts BETWEEN r.ts - INTERVAL '1 second' AND r.ts + INTERVAL '1 second' AND l.v < r.v WHERE r.ts IS NOT NULL",
    ),
    bounded(
        "both with a partner before or none",
        "SELECT l.id AS a, r.id AS b FROM {S} AS l FULL JOIN {S} AS r ON l.k = r.k AND l.ts - INTERVAL '1500 milliseconds' < r.ts AND r.ts < l.ts AND l.b WHERE coalesce(l.ts, r.ts) IS NOT NULL",
    ),
    bounded(
        "followed within seconds",
        "SELECT id, k FROM {S} AS l WHERE EXISTS (SELECT 1 FROM {S} AS r WHERE r.k = l.k AND r.ts > l.ts AND r.ts < l.ts + INTERVAL '4 seconds')",
    ),
    bounded(
        "not followed within seconds",
        "SELECT id, k FROM {S} AS l WHERE ts IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {S} AS r WHERE r.k = l.k AND r.ts > l.ts AND r.ts <= l.ts + INTERVAL '4 seconds')",
    ),
    bounded(
        "chains within seconds",
        "SELECT l.id AS a, m.id AS b, r.id AS c FROM {S} AS l JOIN {S} AS m ON l.k = m.k AND m.ts > l.ts AND m.ts < l.ts + INTERVAL '3 seconds' JOIN {S} AS r ON m.g = r.g AND r.ts > m.ts AND r.ts < m.ts + INTERVAL '3 seconds'",
    ),
    Shape {
        name: "windows over pairs",
        kind: Kind::Bounded,
        engine: "SELECT window_start, count(*) AS n, sum(a) AS m FROM TUMBLE((SELECT r.id AS a, l.ts FROM {S} AS l JOIN {S} AS r ON l.k = r.k AND r.ts BETWEEN l.ts AND l.ts + INTERVAL '3 seconds'), ts, INTERVAL '5 seconds') GROUP BY window_start, window_end",
        oracle: "SELECT date_bin(INTERVAL '5 seconds', l.ts, TIMESTAMP '1970-01-01') AS window_start, count(*) AS n, sum(r.id) AS m FROM w AS l JOIN w AS r ON l.k = r.k AND r.ts BETWEEN l.ts AND l.ts + INTERVAL '3 seconds' GROUP BY 1",
    },
];
