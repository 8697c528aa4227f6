"""Random queries, kept up to date, against DuckDB over the same rows.

Each round starts a server, makes three streams or three static tables and views of random queries over them: joins of
all kinds, aggregates over aggregates, OVER, top-n, set operations, subqueries, LATERAL, parts named twice, nested up to four deep, and views over these
views. Rows come, and go from tables; the server is killed with -9 now and then. Views made before the rows, between them and
after them, what a subscriber has been told of some of them, and the query asked once must all be what DuckDB answers.

    graphs.py BIN [--seed N] [--views N] [--ports N N]

prints what differs, with the statements that show it, and "all is well" if nothing does.
"""

import argparse
import collections
import random

import duckdb
import psycopg

from tidemill import Tidemill

NAMES = ["s1", "s2", "s3"]
COLUMNS = "(a INT, b INT, c TEXT)"


class Queries:
    """Makes queries with the columns a INT, b INT, c TEXT, in the SQL that both sides read."""

    def __init__(self, rng, leaves):
        self.rng, self.leaves, self.number = rng, leaves, 0

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


class Round:
    """A server, DuckDB beside it, and what both have been told."""

    def __init__(self, options, rng, report):
        self.options, self.rng, self.report = options, rng, report
        self.server, self.said, self.views, self.read = Tidemill(options.bin, options.ports), [], [], []
        self.kind = rng.choice(["STREAM", "TABLE"])
        self.duck = duckdb.connect()
        for name in NAMES:
            self.tell(f"CREATE {self.kind} {name} {COLUMNS}")
            self.duck.execute(f"CREATE TABLE {name} {COLUMNS}")

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
        self.duck.execute(f"CREATE VIEW {name} AS {query}")
        self.views.append((name, query))

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
        values = self.rng.choice([None, *range(7)]), self.rng.choice([None, *range(6)]), self.rng.choice([None, "a", "b", "k", "z"])
        return "(" + ", ".join("NULL" if value is None else repr(value) for value in values) + ")"

    def check(self, when):
        self.said.append(f"-- {when}")
        expected = {}
        for name, query in self.views:
            expected[name] = collections.Counter(self.duck.execute(query).fetchall())
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
        queries = Queries(rng, [f"SELECT a, b, c FROM {name}" for name in NAMES])
        for at in range(8):
            round.view(f"p{at}", queries.query(rng.randint(1, 4)))
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
        made += len(round.views)
        round.server.end()
    print(f"{made} views" + ("" if report.wrong else ", all is well"))


main()
