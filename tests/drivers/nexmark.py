"""Nexmark's queries, kept up to date, against DuckDB over the same events.

The auction site's events are written part by part, cut at random times. Views made before the rows, in the middle and at the
end, what a subscriber of each first one has been told, and the query asked once must all be what DuckDB answers at each of
these times, across a kill -9. DuckDB is asked the same text, its windows written out.

    nexmark.py BIN [--events N] [--points N] [--seed N] [--queries DIR] [--setup FILE] [--only q1,q5]
               [--skip q6] [--ports N N]

asks sql/nexmark. With --setup and --queries it asks what other projects have: FILE makes a stream of all events with a struct
for each kind and views person, auction and bid over it, DIR has the queries, as CREATE MATERIALIZED VIEW or INSERT INTO. It
prints what differs, and "all is well" if nothing does. No two engines have the same clock: of windows of processing time only
the sum of all is compared.
"""

import argparse
import collections
import datetime
import decimal
import pathlib
import random
import re

import duckdb
import psycopg

from tidemill import Tidemill

KINDS = ["person", "auction", "bid"]
HERE = pathlib.Path(__file__).resolve().parents[2] / "sql" / "nexmark"
OWN = [f"q{at}" for at in range(23)]
BASE = datetime.datetime(2015, 7, 15)
WORDS = "AS|GROUP|WHERE|JOIN|ON|LEFT|RIGHT|FULL|ORDER|LIMIT|UNION|HAVING|CROSS"

# Rows of one key that are equal in what they are ordered by: which of them is first is not said. What is compared then.
TIES = {"q105": [2], "q19": [0, 2, -1], "q6_group_top1": [0]}

# It divides by the number of auctions, and so has no answer, and no view, before there is a row.
NEEDS_ROWS = ["q102"]


def statements(text):
    text = re.sub(r"--[^\n]*", "", text)
    parts, quoted = [""], None
    for at, c in enumerate(text):
        if quoted is None and c in "'$" and (c == "'" or text[at:at + 2] == "$$"):
            quoted = c
        elif quoted == c and (c == "'" or text[at - 1:at + 1] == "$$" and parts[-1].count("$$") != 1 or c == "'"):
            quoted = None
        if c == ";" and quoted is None:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts if part.strip()]


def own_queries(names):
    found = {}
    for name in names:
        text = re.sub(r"--[^\n]*\n", "", (HERE / f"{name}.sql").read_text()).strip().rstrip(";")
        sql, emit = re.fullmatch(r"(.*)\nEMIT (CHANGES|ON WINDOW CLOSE)", text, re.S).groups()
        found[name] = (sql, emit)
    return found


def queries_of(directory):
    """The queries, and the functions that they call."""
    found, functions = {}, []
    for path in sorted(pathlib.Path(directory).iterdir()):
        text = re.sub(r"^(statement .*|skipif .*|onlyif .*|sleep .*|include .*)$", "", path.read_text(), flags=re.M)
        if path.name.endswith(".part"):
            text = re.sub(r"\n\s*\n(?=\s*CREATE|\s*DROP)", "\n;\n", text)
        for sql in statements(text):
            view = re.match(r"CREATE MATERIALIZED VIEW \w+\s+AS\s+(.*)", sql, re.S | re.I)
            insert = re.match(r"INSERT INTO nexmark_\w+\s+(SELECT.*)", sql, re.S | re.I)
            if view or insert:
                found[path.name.split(".")[0]] = ((view or insert)[1], "CHANGES")
            elif re.match(r"CREATE FUNCTION .*LANGUAGE sql", sql, re.S | re.I):
                functions.append(sql)
    return found, functions


def clock_format(function, text):
    """For strftime: as Java writes it in DATE_FORMAT, as Postgres does in to_char."""
    java = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M"}
    postgres = {"YYYY": "%Y", "MM": "%m", "mm": "%m", "DD": "%d", "HH24": "%H", "HH": "%I", "MI": "%M"}
    words = java if function.upper() == "DATE_FORMAT" else postgres
    return re.sub("|".join(words), lambda match: words[match[0]], text)


def written_out(match):
    """A window function as a subquery."""
    kind, table, key, column, first, second = match.group("kind", "table", "key", "column", "first", "second")
    alias = "" if re.match(rf"\s+(AS\s|(?!(?:{WORDS})\b)\w)", match.string[match.end():], re.I) else f" AS {table}"
    if kind.upper() == "TUMBLE":
        start = f"time_bucket({first}, {column})"
        return f"(SELECT *, {start} AS window_start, {start} + {first} AS window_end FROM {table}){alias}"
    if kind.upper() == "HOP":
        last = f"time_bucket({first}, {column})"
        starts = f"unnest(generate_series({last} - {second} + {first}, {last}, {first}))"
        return f"(SELECT *, window_start + {second} AS window_end FROM (SELECT *, {starts} AS window_start FROM {table})){alias}"
    begins = f"CASE WHEN {column} < lag({column}) OVER (PARTITION BY {key} ORDER BY {column}) + {first} THEN 0 ELSE 1 END"
    numbered = f"SELECT *, sum(begins) OVER (PARTITION BY {key} ORDER BY {column}) AS number FROM (SELECT *, {begins} AS begins FROM {table})"
    of = f"OVER (PARTITION BY {key}, number)"
    return f"(SELECT *, min({column}) {of} AS window_start, max({column}) {of} + {first} AS window_end FROM ({numbered})){alias}"


def in_duckdb(sql):
    interval = r"INTERVAL\s+'[^']*'(?:\s+SECONDS?)?"
    sql = sql.replace("`", '"')
    sql = re.sub(r"TABLE\s*\(\s*(\w+)\s*\(\s*TABLE\s+(\w+)\s*,\s*DESCRIPTOR\(([^)]*)\)((?:[^()]|\([^()]*\))*)\)\s*\)", r"\1(\2, \3\4)", sql)
    sql = re.sub(rf"(?P<kind>TUMBLE|HOP|SESSION)\(\s*(?P<table>\w+)(?:\s+PARTITION BY\s+(?P<key>\w+))?\s*,\s*(?P<column>[\w\".]+)\s*,"
                 rf"\s*(?P<first>{interval})(?:\s*,\s*(?P<second>{interval}))?\s*\)", written_out, sql, flags=re.I)
    # Flink's sessions of a GROUP BY.
    session = re.search(rf"\bSESSION\(B\.(\S+?),\s*({interval})\)", sql)
    if session:
        column, gap = session.groups()
        sql = re.sub(r",\s*SESSION\(.*\)\s*$", ", window_start, window_end", sql)
        sql = re.sub(r"SESSION_(START|END)\([^)]*\)", lambda m: "window_" + m[1].lower(), sql)
        of = f"SESSION(bid PARTITION BY bidder, {column}, {gap}) B"
        sql = in_duckdb(re.sub(r"\bbid B\b", of, sql))
    sql = re.sub(r"\(?regexp_match\((\w+), ('[^']*')\)\)?\[(\d)\]", r"CASE WHEN regexp_matches(\1, \2) THEN regexp_extract(\1, \2, \3) END", sql, flags=re.I)
    sql = re.sub(r"\bREGEXP_EXTRACT\(url, ('[^']*'), 2\)", r"nullif(regexp_extract(url, \1, 2), '')", sql) if "`" not in sql else sql
    sql = re.sub(r"\b(to_char|DATE_FORMAT)\(([^,()]+), '([^']*)'\)", lambda m: f"strftime({m[2]}, '{clock_format(m[1], m[3])}')", sql, flags=re.I)
    sql = re.sub(r"\bSPLIT_INDEX\(url, '/', (\d)\)", lambda m: f"split_part(url, '/', {int(m[1]) + 1})", sql, flags=re.I)
    sql = re.sub(r"FOR SYSTEM_TIME AS OF \S+", "", sql, flags=re.I)
    return sql.replace("PROCTIME()", "now()")


def plain(value):
    """Both sides' numbers and times as one thing."""
    if isinstance(value, (float, decimal.Decimal)):
        return f"{float(value):.9g}"
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return f"{float(value):.9g}" if abs(value) >= 10 ** 9 else str(value)


def counted(rows, columns=None):
    rows = (tuple(plain(value) for value in row) for row in rows)
    return collections.Counter(tuple(row[at] for at in columns) if columns else row for row in rows)


class Site:
    """A server, DuckDB beside it, and the events that both are told."""

    def __init__(self, options):
        self.options, self.server, self.wrong = options, Tidemill(options.bin, options.ports), 0
        self.duck, self.views, self.readers = duckdb.connect(), [], []

    def kill(self):
        self.readers.clear()
        self.server.stop()
        self.server.start()
        for name in [name for name, query, _ in self.views if name.startswith("before_")]:
            self.subscribe(name)

    def events(self):
        """All events in tables of both, one in each millisecond, so that none is at the same time as another."""
        for kind in KINDS:
            self.server.client.execute(f"CREATE SOURCE site_{kind} WITH (connector = 'nexmark', \"table\" = '{kind}', events = {self.options.events})")
            columns = [(name, "TEXT" if kind_of == "text" else "TIMESTAMP" if "timestamp" in kind_of else "BIGINT") for name, kind_of in self.server.client.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", (f"site_{kind}",)).fetchall()]
            self.duck.execute(f"CREATE TABLE raw_{kind} ({', '.join(f'{name} {kind_of}' for name, kind_of in columns)})")
            path = f"{self.server.dir}/{kind}.csv"
            with open(path, "wb") as out, self.server.client.cursor() as cursor:
                with cursor.copy(f"COPY (SELECT * FROM site_{kind}) TO STDOUT (FORMAT csv)") as copy:
                    for data in copy:
                        out.write(bytes(data))
            self.duck.execute(f"COPY raw_{kind} FROM '{path}' (FORMAT csv)")
            self.server.client.execute(f"DROP SOURCE site_{kind}")
        numbered = " UNION ALL ".join(f"SELECT '{kind}' AS kind, rowid AS id, date_time FROM raw_{kind}" for kind in KINDS)
        self.duck.execute(f"CREATE TABLE numbers AS SELECT *, TIMESTAMP '{BASE}' + to_milliseconds(row_number() OVER (ORDER BY date_time, kind, id)) AS at FROM ({numbered})")
        for kind in KINDS:
            expires = ", n.at + (r.expires - r.date_time) * 10 AS expires" if kind == "auction" else ""
            self.duck.execute(f"CREATE TABLE all_{kind} AS SELECT r.* REPLACE (n.at AS date_time{expires}) FROM raw_{kind} r JOIN numbers n ON n.kind = '{kind}' AND n.id = r.rowid")
            declared = self.duck.execute(f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'all_{kind}' ORDER BY ordinal_position").fetchall()
            names = {"VARCHAR": "TEXT", "TIMESTAMP": "TIMESTAMP(3)"}
            self.server.client.execute(f"CREATE TABLE all_{kind} ({', '.join(f'{name} {names.get(kind_of, kind_of)}' for name, kind_of in declared)})")
            path = f"{self.server.dir}/{kind}.csv"
            self.duck.execute(f"COPY all_{kind} TO '{path}' (FORMAT csv, HEADER false)")
            with self.server.client.cursor() as cursor, cursor.copy(f"COPY all_{kind} FROM STDIN (FORMAT csv)") as copy:
                copy.write(pathlib.Path(path).read_bytes())
        for side in [self.server.client, self.duck]:
            side.execute("CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT)")
            side.execute("INSERT INTO side_input SELECT g, 'value of ' || g FROM generate_series(0, 9999) AS x (g)")

    def set_up(self):
        """The streams, or one stream and views over it; DuckDB has views with the same columns up to the time that has come."""
        self.stream = None
        if self.options.setup:
            for sql in statements(re.sub(r"^statement .*$", ";", pathlib.Path(self.options.setup).read_text(), flags=re.M)):
                made = re.match(r"CREATE (?:TABLE|SOURCE) (\w+)", sql, re.I)
                if made:
                    self.stream, sql = made[1], re.sub(r"\)\s*WITH\s*\(.*$", ")", sql, flags=re.S)
                self.server.client.execute(sql)
        else:
            for kind in KINDS:
                columns = ", ".join(f"{name} {kind_of}" for name, kind_of in self.columns(f"all_{kind}"))
                self.server.client.execute(f"CREATE STREAM {kind} ({columns}, WATERMARK FOR date_time AS date_time - INTERVAL '1 second')")
        self.duck.execute("CREATE TABLE come (upto TIMESTAMP)")
        self.duck.execute(f"INSERT INTO come VALUES ('{BASE}')")
        for kind in KINDS:
            own = {name.replace("_", ""): name for name, _ in self.columns(f"all_{kind}")}
            picked = ", ".join(f'{own[name.replace("_", "").lower()]} AS "{name}"' for name, _ in self.columns(kind))
            self.duck.execute(f"CREATE VIEW {kind} AS SELECT {picked} FROM all_{kind} WHERE date_time < (SELECT upto FROM come)")

    def columns(self, table):
        return self.server.client.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", (table,)).fetchall()

    def write(self, start, end):
        between = f"date_time >= TIMESTAMP '{start}' AND date_time < TIMESTAMP '{end}'"
        if self.stream is None:
            for kind in KINDS:
                self.server.client.execute(f"INSERT INTO {kind} SELECT * FROM all_{kind} WHERE {between}")
        else:
            parts = []
            stored = [name for name, _ in self.columns(self.stream)][:4]
            for at, kind in enumerate(KINDS):
                fields = re.search(rf"\b{kind}\s+(?:ROW|STRUCT)\s*<(.*?)>", pathlib.Path(self.options.setup).read_text(), re.S | re.I)[1]
                names = [re.match(r'\s*[`"]?(\w+)', field)[1].replace("_", "").lower() for field in fields.split(",")]
                own = {name.replace("_", ""): name for name, _ in self.columns(f"all_{kind}")}
                row = f"ROW({', '.join(own[name] for name in names)})"
                parts.append(f"SELECT {at}, {', '.join(row if other == kind else 'NULL' for other in KINDS)} FROM all_{kind} WHERE {between}")
            self.server.client.execute(f"INSERT INTO {self.stream} ({', '.join(stored)}) {' UNION ALL '.join(parts)}")
        self.duck.execute(f"UPDATE come SET upto = TIMESTAMP '{end}'")

    def create(self, when, queries):
        for name, (sql, _) in queries.items():
            if when == "before" and name in NEEDS_ROWS:
                continue
            columns = [column[0] for column in self.duck.execute(f"SELECT * FROM ({in_duckdb(sql)}) LIMIT 0").description]
            named = f" ({', '.join(f'c{at}' for at in range(len(columns)))})"
            try:
                self.server.client.execute(f"CREATE MATERIALIZED VIEW {when}_{name}{named} AS {sql}")
            except psycopg.Error as error:
                self.differs(f"{when}_{name} is refused: {error}")
                continue
            self.views.append((f"{when}_{name}", name, sql))
            if when == "before":
                self.subscribe(f"{when}_{name}")

    def subscribe(self, name):
        reader = self.server.connect()
        reader.execute("BEGIN")
        reader.execute(f"DECLARE d CURSOR FOR SUBSCRIBE {name}")
        self.readers.append((name, reader, collections.Counter()))

    def differs(self, what):
        self.wrong += 1
        print(what[:400], flush=True)

    def compare(self, what, found, expected):
        if found != expected:
            lacks, has = expected - found, found - expected
            self.differs(f"{what}: lacks {sum(lacks.values())} of {sum(expected.values())}, as {list(lacks)[:2]}, has {list(has)[:2]}")

    def check(self, when, queries):
        expected = {}
        for name, (sql, _) in queries.items():
            expected[name] = counted(self.duck.execute(in_duckdb(sql)).fetchall(), TIES.get(name))
            try:
                asked = self.server.client.execute(sql).fetchall()
            except psycopg.Error as error:
                self.differs(f"{when}, {name} asked once: {error}")
                continue
            self.compare(f"{when}, {name} asked once", counted(asked, TIES.get(name)), expected[name])
        for view, name, _ in self.views:
            self.compare(f"{when}, {view}", counted(self.server.client.execute(f"TABLE {view}").fetchall(), TIES.get(name)), expected[name])
        for view, reader, told in self.readers:
            for row in reader.execute("FETCH ALL FROM d WITH (timeout = '100 ms')").fetchall():
                told[row[2:]] += row[1]
            name = view.removeprefix("before_")
            rows = [row for row, count in told.items() for _ in range(count)]
            self.compare(f"{when}, a subscriber of {view}", counted(rows, TIES.get(name)), expected[name])
        return expected


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--queries")
    parser.add_argument("--setup")
    parser.add_argument("--only")
    parser.add_argument("--skip", default="")
    parser.add_argument("--ports", type=int, nargs=2, default=[25473, 25474])
    options = parser.parse_args()
    site = Site(options)
    try:
        run(options, site)
    finally:
        site.server.end()


def run(options, site):
    rng = random.Random(options.seed)
    site.events()
    queries, functions = queries_of(options.queries) if options.queries else (own_queries(OWN), [])
    queries = {name: query for name, query in queries.items() if name == "q12" or "PROCTIME" not in query[0] or "SYSTEM_TIME" in query[0]}
    clock = queries.pop("q12", None)
    if options.queries:
        clock = None
    queries = {name: query for name, query in queries.items() if name not in options.skip.split(",")}
    if options.only:
        queries = {name: query for name, query in queries.items() if name in options.only.split(",")}
    site.set_up()
    for function in functions:
        site.server.client.execute(function)
    if options.queries and not functions:
        # What Flink has in Java.
        site.server.client.execute("CREATE FUNCTION count_char(s TEXT, c TEXT) RETURNS INT LANGUAGE SQL AS $$SELECT length(s) - length(replace(s, c, ''))$$")
    site.duck.execute("SET integer_division = true")
    site.duck.execute("CREATE MACRO count_char(s, c) AS length(s) - length(replace(s, c, ''))")
    cuts = sorted(rng.sample(range(1, options.events), options.points - 1)) + [options.events + 1]
    cuts = [BASE + datetime.timedelta(milliseconds=cut) for cut in cuts]
    site.create("before", queries)
    if clock:
        site.server.client.execute(f"CREATE MATERIALIZED VIEW clock AS {clock[0]}")
    start = BASE
    for at, cut in enumerate(cuts):
        site.write(start, cut)
        if at == len(cuts) // 2:
            site.create("between", queries)
        if at == len(cuts) - 1:
            site.create("after", queries)
        site.check(f"at {cut}", queries)
        if at == len(cuts) // 2:
            site.kill()
            site.check(f"at {cut}, after a kill", queries)
        start = cut
    if clock:
        bids, = site.server.client.execute("SELECT sum(bids) FROM clock").fetchone()
        site.compare("q12", counted([[bids]]), counted(site.duck.execute("SELECT count(*) FROM bid").fetchall()))
    closing = {name: query for name, query in queries.items() if query[1] == "ON WINDOW CLOSE"}
    for name, (sql, emit) in closing.items():
        site.server.client.execute(f"CREATE MATERIALIZED VIEW closed_{name} AS {sql} EMIT {emit}")
    for stream in [site.stream] if site.stream else KINDS:
        site.server.client.execute(f"SELECT advance_watermark('{stream}', 'infinity')")
    site.views += [(f"closed_{name}", name, sql) for name, (sql, _) in closing.items()]
    rows = site.check("when all is closed", queries)
    sizes = ", ".join(f"{name} {sum(expected.values())}" for name, expected in rows.items())
    print(f"{len(queries)} queries, {options.events} events, {len(cuts)} times, rows at the end: {sizes}")
    print(f"{site.wrong} differences" if site.wrong else "all is well")


main()
