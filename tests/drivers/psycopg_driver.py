"""psycopg 3 against a running Tidemill: types, COPY in text and binary, a server-side cursor over a continuous query, cancel,
pipelines, prepared statements, transactions."""

import datetime
import decimal
import os
import threading
import time
import uuid

import psycopg

WHERE = dict(host="127.0.0.1", port=int(os.environ["TIDEMILL_PORT"]), user="tester", dbname="tidemill")
COLUMNS = """b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n DECIMAL(12,3), t TEXT,
    by BYTEA, d DATE, tm TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, u UUID, j JSON, jb JSONB, ai INT[], at TEXT[]"""
UTC = datetime.timezone.utc
NAME = f"psycopg_{os.getpid()}"
ROW = (
    True, -5, 6, 2**62, 0.5, -0.1, decimal.Decimal("-12345.678"), "Zoë 'q' \\ 🦀", b"\x00\xff",
    datetime.date(1969, 12, 31), datetime.time(23, 59, 58, 123456), datetime.datetime(1969, 12, 31, 23, 59, 58, 5),
    datetime.datetime(2024, 2, 29, 12, tzinfo=UTC), datetime.timedelta(days=-3, seconds=7), uuid.UUID(int=77),
    {"a": [1, None]}, {"b": "ü"}, [1, None, -3], ["a,b", "", '"q"'],
)


def types(conn):
    from psycopg.types.json import Json, Jsonb

    conn.execute(f"CREATE TABLE {NAME} ({COLUMNS})")
    values = list(ROW)
    values[15], values[16] = Json(ROW[15]), Jsonb(ROW[16])
    places = ", ".join(["%s"] * len(values))
    conn.execute(f"INSERT INTO {NAME} VALUES ({places})", values)
    binary_places = ", ".join(["%b"] * len(values))
    conn.execute(f"INSERT INTO {NAME} VALUES ({binary_places})", values)
    conn.execute(f"INSERT INTO {NAME} (t) VALUES (%s)", [None])
    for binary in (False, True):
        with conn.cursor(binary=binary) as cur:
            rows = cur.execute(f"SELECT * FROM {NAME} WHERE b").fetchall()
            assert rows == [ROW, ROW], (binary, rows)
            nulls = cur.execute(f"SELECT * FROM {NAME} WHERE b IS NULL").fetchall()
            assert nulls == [(None,) * len(ROW)], nulls


def copy(conn):
    conn.execute(f"CREATE TABLE {NAME}_copy ({COLUMNS})")
    for fmt in ("text", "csv", "binary"):
        with conn.cursor() as cur:
            with cur.copy(f"COPY {NAME} TO STDOUT (FORMAT {fmt})") as out:
                data = b"".join(bytes(block) for block in out)
            with cur.copy(f"COPY {NAME}_copy FROM STDIN (FORMAT {fmt})") as into:
                into.write(data)
            assert cur.rowcount == 3, cur.rowcount
    with conn.cursor() as cur:
        with cur.copy(f"COPY {NAME}_copy (i4, t) FROM STDIN") as into:
            into.write_row((1, "by row"))
        # Rows that psycopg writes and reads itself, in both formats.
        kinds = "bool int2 int4 int8 float4 float8 numeric text bytea date time timestamp timestamptz interval uuid"
        kinds = kinds.split()
        names = "b, i2, i4, i8, f4, f8, n, t, by, d, tm, ts, tz, iv, u"
        values = ROW[:15]
        for fmt in ("text", "binary"):
            with cur.copy(f"COPY {NAME}_copy ({names}) FROM STDIN (FORMAT {fmt})") as into:
                into.set_types(kinds)
                into.write_row(values)
                into.write_row((None,) * len(values))
            with cur.copy(f"COPY (SELECT {names} FROM {NAME}_copy WHERE b AND ai IS NULL) TO STDOUT (FORMAT {fmt})") as out:
                out.set_types(kinds)
                rows = list(out.rows())
            assert rows and all(row == values for row in rows), (fmt, rows)
    count = conn.execute(f"SELECT count(*) FROM {NAME}_copy").fetchone()
    assert count == (14,), count


def live(conn):
    stream = f"{NAME}_live"
    conn.execute(f"CREATE STREAM {stream} (k TEXT, ts TIMESTAMP, WATERMARK FOR ts)")
    query = f"""SELECT window_start, count(*) FROM TUMBLE({stream}, ts, INTERVAL '1 second')
                GROUP BY window_start, window_end EMIT ON WINDOW CLOSE"""
    with psycopg.connect(**WHERE) as reader:
        with reader.cursor(name="c") as cur:
            cur.execute(query)
            first = datetime.datetime(2024, 1, 1)
            for n in range(3):
                for moment in (first + datetime.timedelta(seconds=n), first + datetime.timedelta(seconds=n + 1)):
                    conn.execute(f"INSERT INTO {stream} VALUES (%s, %s)", ("a", moment))
                row = cur.fetchone()
                assert row[0] == first + datetime.timedelta(seconds=n), row
                assert row[1] >= 1, row


def cancel(conn):
    stream = f"{NAME}_live"
    with psycopg.connect(**WHERE) as other:
        timer = threading.Timer(0.5, other.cancel)
        timer.start()
        begun = time.monotonic()
        try:
            other.execute(f"SELECT k FROM {stream} WHERE k = 'none' EMIT CHANGES")
            raise AssertionError("an endless query has ended")
        except psycopg.errors.QueryCanceled as error:
            assert error.sqlstate == "57014"
        assert time.monotonic() - begun < 20
        other.rollback()
        assert other.execute("SELECT 1").fetchone() == (1,)


def pipeline(conn):
    with psycopg.connect(**WHERE, autocommit=True) as other, other.pipeline() as pipe, other.cursor() as cur:
        cursors = [other.execute("SELECT %s::int + 1", [n]) for n in range(50)]
        pipe.sync()
        assert [c.fetchone() for c in cursors] == [(n + 1,) for n in range(50)]
        cur.execute(f"CREATE TABLE {NAME}_pipe (a INT, b TEXT)")
        cur.executemany(f"INSERT INTO {NAME}_pipe VALUES (%s, %s)", [(n, "x") for n in range(100)])
        assert cur.execute(f"SELECT count(*) FROM {NAME}_pipe").fetchone() == (100,)
    with psycopg.connect(**WHERE, autocommit=True) as other:
        # What follows the one that fails falls with it, up to the next synchronization.
        try:
            with other.pipeline() as pipe:
                other.execute(f"INSERT INTO {NAME}_pipe VALUES (1000, 'kept')")
                pipe.sync()
                for sql in ("SELECT 1", "SELECT 1/0", f"INSERT INTO {NAME}_pipe VALUES (1001, 'gone')"):
                    other.execute(sql)
            raise AssertionError("1/0 has an answer")
        except psycopg.errors.DivisionByZero:
            pass
        assert other.execute(f"SELECT a FROM {NAME}_pipe WHERE a >= 1000").fetchall() == [(1000,)]


def prepared(conn):
    for n in range(8):
        row = conn.execute(f"SELECT i4 + %s, t FROM {NAME} WHERE i4 = %s LIMIT 1", (n, 6), prepare=True).fetchone()
        assert row == (6 + n, ROW[7]), row
    with conn.cursor() as cur:
        cur.executemany("SELECT %s::text", [("a",), ("b",)], returning=True)
        assert cur.fetchone() == ("a",) and cur.nextset() and cur.fetchone() == ("b",)


def transactions(conn):
    with psycopg.connect(**WHERE) as other:
        other.execute(f"INSERT INTO {NAME}_copy (t) VALUES ('rolled back')")
        other.rollback()
        try:
            other.execute("SELECT 1/0")
            raise AssertionError("1/0 has an answer")
        except psycopg.errors.DivisionByZero:
            other.rollback()
    assert conn.execute(f"SELECT count(*) FROM {NAME}_copy WHERE t = 'rolled back'").fetchone() == (0,)


with psycopg.connect(**WHERE, autocommit=True) as connection:
    for part in (types, copy, live, cancel, pipeline, prepared, transactions):
        part(connection)
        print(f"psycopg {part.__name__}: ok")
print("all is well")
