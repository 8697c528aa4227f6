"""Random queries, kept up to date, against DuckDB over the same rows.

Each round starts a server, makes three streams or three static tables and views of random queries over them: joins of
all kinds, aggregates over aggregates, OVER, top-n, set operations, subqueries, LATERAL, parts named twice, over streams
windows and joins bounded in time, nested up to four deep, and views over these views. Rows come, and go from tables; the
server is killed with -9 now and then. Views made before the rows, between them and after them, what a subscriber has been
told of some of them, and the query asked once must all be what DuckDB answers; and when the watermark has gone to infinity, so
must the views that answer on window close.

    graphs.py BIN [--seed N] [--views N] [--ports N N]

prints what differs, with the statements that show it, and "all is well" if nothing does.
"""

import argparse
import collections
import random
import re

import duckdb
import psycopg

from tidemill import Tidemill

NAMES = ["s1", "s2", "s3"]
DELAY_S = 60
COLUMNS = {
    "TABLE": "(a INT, b INT, c TEXT)",
    "STREAM": f"(a INT, b INT, c TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '{DELAY_S} seconds')",
}
THEIR_COLUMNS = {"TABLE": COLUMNS["TABLE"], "STREAM": "(a INT, b INT, c TEXT, ts TIMESTAMP)"}

WINDOWS = re.compile(
    r"(TUMBLE|HOP|CUMULATE|SESSION)\((\w+)( PARTITION BY a)?, ts, INTERVAL '(\d+) seconds'(?:, INTERVAL '(\d+) seconds')?\)")


def windows_written_out(query):
    """The query with the windows as DuckDB can compute them, which has none."""
    return WINDOWS.sub(lambda call: "(" + written_out(*call.groups()) + ")", query)


def written_out(kind, relation, parted, first, second):
    rows = f"SELECT * FROM {relation} WHERE ts IS NOT NULL"
    if kind == "SESSION":
        parted = "PARTITION BY a" if parted else ""
        opens = f"ts >= lag(ts) OVER ({parted} ORDER BY ts) + INTERVAL '{first} seconds'"
        opened = (f"SELECT *, sum(coalesce(opens::int, 0)) OVER ({parted} ORDER BY ts) AS nth"
                  f" FROM (SELECT *, {opens} AS opens FROM ({rows}))")
        # Rows of one moment are of one session: what begins one begins it for all of them.
        of = "PARTITION BY " + ("a, nth" if parted else "nth")
        return (f"SELECT *, min(ts) OVER ({of}) AS window_start, max(ts) OVER ({of}) + INTERVAL '{first} seconds' AS window_end"
                f" FROM ({opened})")
    if kind == "TUMBLE":
        slide, size = first, first
    elif kind == "HOP":
        slide, size = first, second
    else:
        slide, size = second, second
    start = f"time_bucket(INTERVAL '{slide} seconds', ts)"
    if kind == "HOP":
        each = f"unnest(range(0, {size}, {slide}))"
        return (f"SELECT *, window_start + INTERVAL '{size} seconds' AS window_end FROM"
                f" (SELECT *, {start} - to_seconds({each}) AS window_start FROM ({rows})) WHERE ts < window_start + INTERVAL '{size} seconds'")
    if kind == "CUMULATE":
        each = f"unnest(range({first}, {size} + 1, {first}))"
        return (f"SELECT * FROM (SELECT *, {start} AS window_start, {start} + to_seconds({each}) AS window_end FROM ({rows}))"
                f" WHERE ts < window_end")
    return f"SELECT *, {start} AS window_start, {start} + INTERVAL '{size} seconds' AS window_end FROM ({rows})"


class Queries:
    """Makes queries with the columns a INT, b INT, c TEXT, in the SQL that both sides read."""

    def __init__(self, rng, leaves, timed):
        self.rng, self.leaves, self.timed, self.number = rng, leaves, timed, 0
        # Whether windows are to be of rows that stay, as on window close.
        self.for_good = False

    def alias(self):
        self.number += 1
        return f"x{self.number}"

    def condition(self, x):
        return self.rng.choice([
            f"{x}.a > {self.rng.randint(-2, 6)}", f"{x}.b < {self.rng.randint(0, 8)}", f"{x}.c IS NOT NULL", f"{x}.c < 'm'", f"{x}.a = {x}.b",
            f"{x}.b IS NULL OR {x}.a < 3", f"({x}.a + {x}.b) % 2 = 0", f"NOT ({x}.a > 2 AND {x}.b > 2)", f"{x}.a BETWEEN 0 AND 4", f"{x}.b IN (1, 2, 3)",
        ])

    def query(self, depth):
        if depth <= 0 or self.rng.random() < 0.12:
            return self.rng.choice(self.leaves)
        kinds = [self.filtered, self.projected, self.cases, self.aggregate, self.aggregate, self.total, self.joined, self.joined, self.joined,
                 self.merged, self.semijoined, self.united, self.distinct, self.over, self.top_of_each, self.top, self.scalar, self.correlated,
                 self.sliced, self.lateral, self.twice, self.twice]
        if self.timed:
            kinds += [self.windowed, self.windowed, self.windowed, self.bounded]
        return self.rng.choice(kinds)(self.alias(), self.alias(), depth - 1)

    def of(self, depth, x):
        return f"({self.query(depth)}) AS {x}"

    def filtered(self, x, _, depth):
        return f"SELECT {x}.a, {x}.b, {x}.c FROM {self.of(depth, x)} WHERE {self.condition(x)}"

    def projected(self, x, _, depth):
        a = self.rng.choice([f"{x}.b", f"{x}.a + 1", f"abs({x}.a)", f"coalesce({x}.a, 0)"])
        b = self.rng.choice([f"{x}.a", f"({x}.a * {x}.b) % 7", f"{x}.b"])
        c = self.rng.choice([f"{x}.c", f"upper({x}.c)", f"coalesce({x}.c, 'z')"])
        return f"SELECT {a} AS a, {b} AS b, {c} AS c FROM {self.of(depth, x)}"

    def cases(self, x, _, depth):
        return (f"SELECT CASE WHEN {self.condition(x)} THEN {x}.a ELSE {x}.b END AS a, {x}.b AS b, CASE WHEN {x}.b > 1 THEN {x}.c END AS c"
                f" FROM {self.of(depth, x)}")

    def call(self, x):
        return self.rng.choice([f"(sum({x}.b) % 1000)::int", "count(*)::int", f"count({x}.b)::int", f"min({x}.b)", f"max({x}.b)",
                                f"count(DISTINCT {x}.b)::int", f"(count(*) FILTER (WHERE {x}.b > 1))::int"])

    def aggregate(self, x, _, depth):
        key = self.rng.choice([f"{x}.a", f"{x}.a", f"{x}.a % 3"])
        having = self.rng.choice(["", "", " HAVING count(*) > 1", f" HAVING max({x}.b) > 1"])
        c = self.rng.choice([f"min({x}.c)", f"max({x}.c)", f"string_agg({x}.c, ',' ORDER BY {x}.c)"])
        return f"SELECT {key} AS a, {self.call(x)} AS b, {c} AS c FROM {self.of(depth, x)} GROUP BY {key}{having}"

    def total(self, x, _, depth):
        return f"SELECT {self.call(x)} AS a, {self.call(x)} AS b, max({x}.c) AS c FROM {self.of(depth, x)}"

    def joined(self, x, y, depth):
        kind = self.rng.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        on = [f"{x}.a = {y}.a", f"{x}.a = {y}.a", f"{x}.a = {y}.a AND {x}.b = {y}.b", f"{x}.a = {y}.b AND {x}.b < {y}.a",
              f"{x}.a = {y}.a AND {y}.b > 1"]
        if kind != "FULL JOIN":
            on.append(f"{x}.a < {y}.a AND {x}.b < 3")
        a = self.rng.choice([f"{x}.a", f"{y}.a", f"coalesce({x}.a, {y}.a)"])
        b = self.rng.choice([f"{x}.b", f"{y}.b", f"{x}.b + {y}.b"])
        where = f" WHERE {self.condition(x)}" if self.rng.random() < 0.2 else ""
        sides = f"{self.of(depth, x)} {kind} {self.of(depth - self.rng.randint(0, 1), y)}"
        return f"SELECT {a} AS a, {b} AS b, {self.rng.choice([x, y])}.c AS c FROM {sides} ON {self.rng.choice(on)}{where}"

    def merged(self, x, y, depth):
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        b = self.rng.choice([f"{x}.b", f"{y}.b"])
        sides = f"{self.of(depth, x)} {kind} {self.of(depth - 1, y)} USING ({self.rng.choice(['a', 'a, c'])})"
        return f"SELECT a, {b} AS b, {self.rng.choice([x, y])}.c AS c FROM {sides} WHERE a IS NULL OR a < 6"

    def semijoined(self, x, y, depth):
        inner = self.of(depth - 1, y)
        where = self.rng.choice([
            f"EXISTS (SELECT 1 FROM {inner} WHERE {y}.a = {x}.a)",
            f"NOT EXISTS (SELECT 1 FROM {inner} WHERE {y}.a = {x}.a AND {y}.b > {self.rng.randint(0, 3)})",
            f"{x}.a IN (SELECT {y}.b FROM {inner})",
            f"{x}.a NOT IN (SELECT {y}.a FROM {inner} WHERE {y}.a IS NOT NULL)",
            f"{x}.a NOT IN (SELECT {y}.b FROM {inner})",
        ])
        return f"SELECT {x}.a, {x}.b, {x}.c FROM {self.of(depth, x)} WHERE {where}"

    def united(self, x, y, depth):
        kind = self.rng.choice(["UNION", "UNION ALL", "UNION ALL", "EXCEPT", "EXCEPT ALL", "INTERSECT", "INTERSECT ALL"])
        return f"(SELECT a, b, c FROM {self.of(depth, x)}) {kind} (SELECT a, b, c FROM {self.of(depth - 1, y)})"

    def distinct(self, x, _, depth):
        return f"SELECT DISTINCT a, b, {self.rng.choice(['c', 'NULL::text AS c'])} FROM {self.of(depth, x)}"

    def over(self, x, _, depth):
        order = f"ORDER BY {x}.b NULLS FIRST, {x}.c NULLS LAST"
        call = self.rng.choice([
            f"row_number() OVER (PARTITION BY {x}.a {order})", f"sum({x}.b) OVER (PARTITION BY {x}.a) % 1000", f"count(*) OVER (PARTITION BY {x}.a)",
            f"rank() OVER (PARTITION BY {x}.a ORDER BY {x}.b NULLS FIRST)", f"dense_rank() OVER (PARTITION BY {x}.a ORDER BY {x}.b NULLS FIRST)",
            f"lag({x}.b) OVER (PARTITION BY {x}.a {order})", f"first_value({x}.b) OVER (PARTITION BY {x}.a {order})",
            f"max({x}.b) OVER (PARTITION BY {x}.a {order} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
        ])
        return f"SELECT {x}.a, ({call})::int AS b, {x}.c FROM {self.of(depth, x)}"

    def top_of_each(self, x, y, depth):
        order = f"ORDER BY {x}.b {self.rng.choice(['DESC NULLS LAST', 'NULLS FIRST'])}, {x}.c NULLS LAST"
        ranked = f"SELECT {x}.a, {x}.b, {x}.c, row_number() OVER (PARTITION BY {x}.a {order}) AS rn FROM {self.of(depth, x)}"
        return f"SELECT a, b, c FROM ({ranked}) AS {y} WHERE rn <= {self.rng.randint(1, 3)}"

    def top(self, x, _, depth):
        order = self.rng.choice(["a DESC NULLS LAST, b NULLS FIRST, c NULLS LAST", "b NULLS LAST, c NULLS FIRST, a NULLS LAST"])
        offset = self.rng.choice(["", f" OFFSET {self.rng.randint(0, 2)}"])
        return f"SELECT a, b, c FROM {self.of(depth, x)} ORDER BY {order} LIMIT {self.rng.randint(1, 6)}{offset}"

    def scalar(self, x, y, depth):
        inner = f"SELECT {self.rng.choice(['max', 'min', 'count'])}({y}.b) FROM {self.of(depth - 1, y)}"
        return f"SELECT {x}.a, {x}.b - ({inner})::int AS b, {x}.c FROM {self.of(depth, x)}"

    def correlated(self, x, y, depth):
        inner = f"SELECT {self.rng.choice(['max', 'min', 'count'])}({y}.b) FROM {self.of(depth - 1, y)} WHERE {y}.a = {x}.a"
        return f"SELECT {x}.a, ({inner})::int AS b, {x}.c FROM {self.of(depth, x)}"

    def sliced(self, x, _, depth):
        """Groups of an expression, as windows are."""
        start = f"(floor({x}.b / 3.0) * 3)::int"
        return f"SELECT {start} AS a, {self.call(x)} AS b, min({x}.c) AS c FROM {self.of(depth, x)} WHERE {x}.b IS NOT NULL GROUP BY {start}"

    def lateral(self, x, y, depth):
        inner = f"SELECT {y}.b FROM {self.of(depth - 1, y)} WHERE {y}.a = {x}.a"
        return f"SELECT {x}.a, z{x}.b, {x}.c FROM {self.of(depth, x)} {self.rng.choice(['JOIN', 'LEFT JOIN'])} LATERAL ({inner}) AS z{x} ON true"

    def twice(self, x, y, depth):
        """A part that stands in the query more than once."""
        w = f"w{x}"
        part = f"WITH {w} AS ({self.query(depth)})"
        return self.rng.choice([
            f"{part} SELECT {x}.a, {y}.b, {x}.c FROM {w} AS {x} {self.rng.choice(['JOIN', 'LEFT JOIN', 'FULL JOIN'])} {w} AS {y} ON {x}.{self.rng.choice('ab')} = {y}.a",
            f"{part} SELECT {x}.a, {x}.b, {x}.c FROM {w} AS {x} WHERE {x}.b = (SELECT max({y}.b) FROM {w} AS {y})",
            f"{part} SELECT {x}.a, {x}.b, {x}.c FROM {w} AS {x} JOIN (SELECT a, max(b) AS most FROM {w} GROUP BY a) AS {y} ON {x}.a = {y}.a AND {x}.b = {y}.most",
            f"{part} SELECT {x}.a, {x}.b, {x}.c FROM {w} AS {x} WHERE {self.condition(x)} UNION ALL SELECT {y}.b, {y}.a, {y}.c FROM {w} AS {y} WHERE {self.condition(y)}",
            f"{part}, v{w} AS (SELECT a, count(*)::int AS n FROM {w} GROUP BY a) SELECT {x}.n AS a, {y}.n AS b, NULL::text AS c FROM v{w} AS {x} JOIN v{w} AS {y} ON {x}.n = {y}.a",
            f"{part} SELECT {x}.a, {x}.b, {x}.c FROM {w} AS {x} WHERE {x}.a NOT IN (SELECT {y}.b FROM {w} AS {y} WHERE {y}.b IS NOT NULL)",
        ])


    def windowed(self, x, y, depth):
        """Windows of a stream, and what keeps to them."""
        return self.rng.choice([self.grouped, self.grouped, self.top_of_window, self.over_window, self.of_windows, self.joined_windows])(x, y)

    def window(self, relation):
        size = self.rng.choice([4, 10, 20])
        return self.rng.choice([
            f"TUMBLE({relation}, ts, INTERVAL '{size} seconds')",
            f"HOP({relation}, ts, INTERVAL '{size // 2} seconds', INTERVAL '{size} seconds')",
            f"HOP({relation}, ts, INTERVAL '3 seconds', INTERVAL '{size} seconds')",
            f"CUMULATE({relation}, ts, INTERVAL '{size // 2} seconds', INTERVAL '{size} seconds')",
        ])

    def windows(self, x):
        """Rows of windows, their groups beside `window_start` and `window_end`: FROM, and the columns a, b and c of a group."""
        source = self.rng.choice(NAMES)
        if self.rng.random() < 0.15:
            return f"SESSION({source} PARTITION BY a, ts, INTERVAL '{self.rng.choice([2, 5])} seconds') AS {x}", f"{x}.a"
        if self.rng.random() < 0.3:
            conditions = ["a > 1", "b IS NOT NULL", "c < 'm'"] + ([] if self.for_good else ["a IN (SELECT a FROM s2)"])
            where = self.rng.choice(conditions)
            return f"{self.window(f'f{x}')} AS {x}", f"{x}.a", f"WITH f{x} AS (SELECT a, b, c, ts FROM {source} WHERE {where}) "
        return f"{self.window(source)} AS {x}", self.rng.choice([f"{x}.a", f"{x}.a % 3"])

    def groups(self, x, more=""):
        rows, key, *part = self.windows(x)
        c = self.rng.choice([f"min({x}.c)", f"max({x}.c)", f"string_agg({x}.c, ',' ORDER BY {x}.c)"])
        return (f"{''.join(part)}SELECT {key} AS a, {self.call(x)} AS b, {c} AS c{more} FROM {rows}"
                f" GROUP BY {x}.window_start, {x}.window_end, {key}")

    def grouped(self, x, _):
        if self.rng.random() < 0.3:
            rows, _, *part = self.windows(x) if self.rng.random() < 0.2 else (f"{self.window(self.rng.choice(NAMES))} AS {x}", "")
            by = f", {x}.a" if rows.startswith("SESSION") else ""
            start = f"(extract(epoch FROM {x}.window_start)::bigint % 1000)::int"
            return f"{''.join(part)}SELECT {start} AS a, {self.call(x)} AS b, max({x}.c) AS c FROM {rows} GROUP BY {x}.window_start, {x}.window_end{by}"
        return self.groups(x)

    def top_of_window(self, x, y):
        groups = self.groups(x, f", {x}.window_start, {x}.window_end")
        order = f"ORDER BY {y}.b {self.rng.choice(['DESC NULLS LAST', 'NULLS FIRST'])}, {y}.a NULLS LAST"
        call = self.rng.choice(["row_number()", "rank()", "dense_rank()"])
        ranked = f"SELECT {y}.a, {y}.b, {y}.c, {call} OVER (PARTITION BY {y}.window_start, {y}.window_end {order}) AS rn FROM ({groups}) AS {y}"
        return f"SELECT a, b, c FROM ({ranked}) AS r{y} WHERE rn <= {self.rng.randint(1, 2)}"

    def over_window(self, x, y):
        groups = self.groups(x, f", {x}.window_start, {x}.window_end")
        call = self.rng.choice([f"max({y}.b) OVER w", f"count(*) OVER w", f"{y}.b - min({y}.b) OVER w"])
        return f"SELECT {y}.a, ({call})::int AS b, {y}.c FROM ({groups}) AS {y} WINDOW w AS (PARTITION BY {y}.window_start, {y}.window_end)"

    def of_windows(self, x, y):
        """An aggregate over the groups of a window."""
        groups = self.groups(x, f", {x}.window_start, {x}.window_end")
        return f"SELECT {self.call(y)} AS a, max({y}.b) AS b, min({y}.c) AS c FROM ({groups}) AS {y} GROUP BY {y}.window_start, {y}.window_end"

    def joined_windows(self, x, y):
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        sides = [f"({self.groups(f'i{side}', f', i{side}.window_start, i{side}.window_end')}) AS {side}" for side in (x, y)]
        a = self.rng.choice([f"{x}.a", f"coalesce({x}.a, {y}.a)"])
        return (f"SELECT {a} AS a, {self.rng.choice([f'{x}.b', f'{y}.b'])} AS b, {x}.c FROM {sides[0]} {kind} {sides[1]}"
                f" ON {x}.window_start = {y}.window_start AND {x}.window_end = {y}.window_end AND {x}.a = {y}.a")

    def bounded(self, x, y, depth):
        """Streams joined within bounds of time."""
        kind = self.rng.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        bounds = self.rng.choice([
            f"{y}.ts BETWEEN {x}.ts AND {x}.ts + INTERVAL '5 seconds'", f"{y}.ts >= {x}.ts - INTERVAL '3 seconds' AND {y}.ts < {x}.ts + INTERVAL '3 seconds'"])
        sources = self.rng.choice(NAMES), self.rng.choice(NAMES)
        return f"SELECT {x}.a, {y}.b, {self.rng.choice([x, y])}.c FROM {sources[0]} AS {x} {kind} {sources[1]} AS {y} ON {x}.a = {y}.a AND {bounds}"


class Round:
    """A server, DuckDB beside it, and what both have been told."""

    def __init__(self, options, rng, report):
        self.options, self.rng, self.report = options, rng, report
        self.server, self.said, self.views, self.read = Tidemill(options.bin, options.ports), [], [], []
        self.kind, self.now, self.closing = rng.choice(["STREAM", "STREAM", "TABLE"]), 0, []
        self.duck = duckdb.connect()
        for name in NAMES:
            self.tell(f"CREATE {self.kind} {name} {COLUMNS[self.kind]}")
            self.duck.execute(f"CREATE TABLE {name} {THEIR_COLUMNS[self.kind]}")

    def kill(self):
        self.said.append("-- kill -9")
        self.read.clear()
        self.server.stop()
        self.server.start()

    def tell(self, sql):
        self.said.append(sql + ";")
        self.server.client.execute(sql)

    def view(self, name, query):
        try:
            self.tell(f"CREATE MATERIALIZED VIEW {name} AS {query}")
        except psycopg.Error as error:
            self.report.differs(self, f"{name} is refused: {error}", query)
            return
        self.duck.execute(f"CREATE VIEW {name} AS {windows_written_out(query)}")
        self.views.append((name, query))

    def closing_view(self, name, query):
        """One that answers when its windows close, which is read at the end."""
        try:
            self.tell(f"CREATE MATERIALIZED VIEW {name} AS {query} EMIT ON WINDOW CLOSE")
        except psycopg.Error as error:
            self.report.differs(self, f"{name} is refused: {error}", query)
            return
        self.closing.append((name, query))

    def close(self):
        """Ends time."""
        for name in NAMES:
            self.tell(f"SELECT advance_watermark('{name}', 'infinity')")
        for name, query in self.closing:
            found = collections.Counter(self.server.client.execute(f"TABLE {name}").fetchall())
            expected = collections.Counter(self.duck.execute(windows_written_out(query)).fetchall())
            if found != expected:
                self.report.differs(self, f"on window close, {name}: lacks {expected - found}, has {found - expected}", query)

    def subscribe(self, name):
        reader = self.server.connect()
        reader.execute("BEGIN")
        reader.execute(f"DECLARE d CURSOR FOR SUBSCRIBE {name}")
        self.read.append((name, reader, collections.Counter()))

    def change(self):
        for _ in range(self.rng.randint(1, 4)):
            name = self.rng.choice(NAMES)
            rows = ", ".join(self.row() for _ in range(self.rng.randint(1, 5)))
            changes = [f"INSERT INTO {name} VALUES {rows}"]
            if self.kind == "TABLE" and self.rng.random() < 0.5:
                changes.append(self.rng.choice([
                    f"DELETE FROM {name} WHERE a = {self.rng.randint(0, 6)}",
                    f"UPDATE {name} SET b = {self.rng.randint(0, 6)} WHERE a = {self.rng.randint(0, 6)}",
                    f"UPDATE {name} SET a = {self.rng.randint(0, 6)} WHERE b = {self.rng.randint(0, 5)}",
                ]))
            for sql in changes:
                self.tell(sql)
                self.duck.execute(sql)

    def row(self):
        values = [self.rng.choice([None, *range(7)]), self.rng.choice([None, *range(6)]), self.rng.choice([None, "a", "b", "k", "z"])]
        if self.kind == "STREAM":
            # None is late: time goes on by less than the delay between the earliest and the latest of them.
            self.now += self.rng.choice([0, 0, 1, 2])
            at = self.now - self.rng.randint(0, DELAY_S // 4)
            values.append(self.rng.choice([None] + 20 * [f"2024-01-01 {12 + at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}"]))
        return "(" + ", ".join("NULL" if value is None else repr(value) for value in values) + ")"

    def check(self, when):
        self.said.append(f"-- {when}")
        expected = {}
        for name, query in self.views:
            expected[name] = collections.Counter(self.duck.execute(windows_written_out(query)).fetchall())
            for what, sql in [("the view", f"TABLE {name}"), ("the query", query)]:
                if what == "the query" and self.rng.random() < 0.7:
                    continue
                try:
                    found = collections.Counter(self.server.client.execute(sql).fetchall())
                except psycopg.Error as error:
                    self.report.differs(self, f"{when}, {name}, {what}: {error}", query)
                    continue
                if found != expected[name]:
                    self.report.differs(self, f"{when}, {name}, {what}: lacks {expected[name] - found}, has {found - expected[name]}", query)
        for name, reader, told in self.read:
            # What has been written is in the view that has been read above, and with its subscribers.
            for row in reader.execute("FETCH ALL FROM d WITH (timeout = '50 ms')").fetchall():
                told[row[2:]] += row[1]
            if +told != expected[name] or -told:
                self.report.differs(self, f"{when}, {name}, its subscriber: has {told}, lacks {expected[name] - told}", name)


class Report:
    def __init__(self):
        self.wrong = 0

    def differs(self, round, what, query):
        self.wrong += 1
        print(f"{what}\n    {query}", flush=True)
        if self.wrong == 1:
            print("\n".join(round.said), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--views", type=int, default=300)
    parser.add_argument("--ports", type=int, nargs=2, default=[25463, 25464])
    options = parser.parse_args()
    rng, report, made = random.Random(options.seed), Report(), 0
    while made < options.views and report.wrong < 20:
        round = Round(options, rng, report)
        queries = Queries(rng, [f"SELECT a, b, c FROM {name}" for name in NAMES], round.kind == "STREAM")
        for at in range(8):
            round.view(f"p{at}", queries.query(rng.randint(1, 4)))
        queries.for_good = True
        for at in range(3 if queries.timed else 0):
            round.closing_view(f"w{at}", queries.windowed(queries.alias(), queries.alias(), 0))
        queries.for_good = False
        if round.views:
            round.subscribe(rng.choice(round.views)[0])
        round.change()
        round.check("made before the rows")
        queries.leaves += [f"SELECT a, b, c FROM {rng.choice(round.views)[0]}" for _ in range(2)]
        for at in range(6):
            round.view(f"q{at}", queries.query(rng.randint(1, 3)))
        round.subscribe(rng.choice(round.views)[0])
        round.change()
        round.check("made between the rows")
        for _ in range(3):
            round.change()
        if rng.random() < 0.6:
            round.kill()
        round.change()
        round.view("last", queries.query(rng.randint(1, 4)))
        round.check("at the end")
        if queries.timed:
            round.close()
        made += len(round.views) + len(round.closing)
        round.server.end()
    print(f"{made} views" + ("" if report.wrong else ", all is well"))


main()
