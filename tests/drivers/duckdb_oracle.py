"""A second opinion: DuckDB over the same rows, with windows expanded by its own SQL, against Tidemill's views and snapshots."""

import datetime
import math
import os
import random

import duckdb
import psycopg

WHERE = dict(host="127.0.0.1", port=int(os.environ["TIDEMILL_PORT"]), user="tester", dbname="tidemill", autocommit=True)
EPOCH = datetime.datetime(1970, 1, 1)
QUERIES = [
    "SELECT window_start, window_end, k, count(*), sum(v), min(v), max(v), avg(v) FROM {w} GROUP BY window_start, window_end, k",
    "SELECT window_start, window_end, count(DISTINCT k), count(v) FILTER (WHERE v > 10) FROM {w} GROUP BY window_start, window_end",
    "SELECT window_start, window_end, v % 3, count(*) FROM {w} WHERE k IS NOT NULL GROUP BY window_start, window_end, v % 3 HAVING count(*) > 1",
    "SELECT window_start, window_end, k, stddev_pop(v), min(ts), max(k) FROM {w} GROUP BY window_start, window_end, k",
]


def rows(rng, count):
    """All of one write, so that none is late."""
    for _ in range(count):
        ts = None if rng.random() < 0.05 else EPOCH + datetime.timedelta(milliseconds=rng.randrange(-60_000, 90_000))
        yield rng.choice(["a", "b", "Zoë", "", None]), rng.choice([None, *range(-5, 40)]), ts


def same(a, b):
    if isinstance(a, datetime.datetime) or isinstance(a, str) or a is None or b is None:
        return a == b
    return math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-9)


def check(conn, seed):
    rng = random.Random(seed)
    data = list(rows(rng, rng.randrange(1, 200)))
    slide, size = rng.choice([(1000, 1000), (7000, 7000), (3000, 10_000), (2500, 6000), (5000, 10_000)])
    stream = f"duck_{os.getpid()}_{seed}"
    conn.execute(f"CREATE STREAM {stream} (k TEXT, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts)")
    window = f"HOP({stream}, ts, INTERVAL '{slide} milliseconds', INTERVAL '{size} milliseconds')"
    for i, query in enumerate(QUERIES):
        conn.execute(f"CREATE MATERIALIZED VIEW {stream}_{i} AS {name_columns(query).format(w=window)} EMIT ON WINDOW CLOSE")
    with conn.cursor() as cur, cur.copy(f"COPY {stream} FROM STDIN") as into:
        for row in data:
            into.write_row(row)
    conn.execute(f"SELECT advance_watermark('{stream}', 'infinity')")
    duck = duckdb.connect()
    duck.execute("CREATE TABLE s (k TEXT, v BIGINT, ts TIMESTAMP)")
    duck.executemany("INSERT INTO s VALUES (?, ?, ?)", data)
    # The last window that can hold a row begins at its time rounded down to the slide; the others lie before it.
    duck.execute(f"""CREATE TABLE w AS
        SELECT s.*, make_timestamp(b * 1000) AS window_start, make_timestamp((b + {size}) * 1000) AS window_end
        FROM s, LATERAL (SELECT CAST(floor(epoch_ms(ts) / {slide}.0) AS BIGINT) * {slide} AS last) AS l,
             LATERAL (SELECT last - i * {slide} AS b FROM range({size // slide + 1}) AS r (i)) AS g
        WHERE ts IS NOT NULL AND b + {size} > epoch_ms(ts)""")
    order = lambda row: tuple((value is None, str(value)) for value in row[:3])
    for i, query in enumerate(QUERIES):
        expected = sorted(duck.execute(query.format(w="w")).fetchall(), key=order)
        for sql in (query.format(w=window), f"SELECT * FROM {stream}_{i}"):
            found = sorted(conn.execute(sql).fetchall(), key=order)
            assert len(found) == len(expected), (seed, sql, len(found), len(expected))
            for a, b in zip(found, expected):
                assert all(map(same, a, b)), (seed, sql, a, b)
    conn.execute(f"DROP STREAM {stream} CASCADE")


def name_columns(query):
    """A view's columns need names of their own."""
    head, tail = query.split(" FROM ", 1)
    columns, depth, current = [], 0, ""
    for char in head.removeprefix("SELECT ") + ",":
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            columns.append(current.strip())
            current = ""
        else:
            current += char
    named = [c if c.isidentifier() else f"{c} AS c{n}" for n, c in enumerate(columns)]
    return f"SELECT {', '.join(named)} FROM {tail}"


with psycopg.connect(**WHERE) as connection:
    for number in range(12):
        check(connection, number)
print("all is well")
