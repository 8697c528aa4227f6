"""asyncpg against a running Tidemill: every type in binary, COPY both ways, a cursor over a continuous query, cancel, prepared
statements, transactions, a pool."""

import asyncio
import datetime
import decimal
import io
import os
import uuid

import asyncpg

WHERE = dict(host="127.0.0.1", port=int(os.environ["TIDEMILL_PORT"]), user="tester", database="tidemill")
COLUMNS = """b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n DECIMAL(12,3), t TEXT,
    vc VARCHAR(20), by BYTEA, d DATE, tm TIME, ts TIMESTAMP, t3 TIMESTAMP(3), tz TIMESTAMPTZ, iv INTERVAL, u UUID, j JSON, jb JSONB, ai INT[], at TEXT[]"""
NAME = f"asyncpg_{os.getpid()}"
ROW = (
    True, -5, 6, 2**62, 0.5, -0.1, decimal.Decimal("-12345.678"), "Zoë 'q' \\ 🦀", "short", b"\x00\xff",
    datetime.date(1969, 12, 31), datetime.time(23, 59, 58, 123456), datetime.datetime(1969, 12, 31, 23, 59, 58, 5),
    datetime.datetime(2024, 1, 1, 0, 0, 0, 123000),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc), datetime.timedelta(days=-3, seconds=7),
    uuid.UUID(int=77), '{"a": [1, null]}', '{"b": "ü"}', [1, None, -3], ["a,b", "", '"q"'],
)


async def types(conn):
    await conn.execute(f"CREATE TABLE {NAME} ({COLUMNS})")
    places = ", ".join(f"${i + 1}" for i in range(len(ROW)))
    await conn.execute(f"INSERT INTO {NAME} VALUES ({places})", *ROW)
    await conn.executemany(f"INSERT INTO {NAME} VALUES ({places})", [ROW, (None,) * len(ROW)])
    rows = await conn.fetch(f"SELECT * FROM {NAME} WHERE b")
    assert len(rows) == 2
    for row in rows:
        for name, found, sent in zip(row.keys(), row.values(), ROW):
            if name in ("j", "jb"):
                found, sent = found.replace(" ", ""), sent.replace(" ", "")
            assert found == sent, (name, found, sent)
    nulls = await conn.fetchrow(f"SELECT * FROM {NAME} WHERE b IS NULL")
    assert all(value is None for value in nulls.values())


# Of every type an array, and a row.
NESTED = """b BOOLEAN[], i2 SMALLINT[], i8 BIGINT[], f4 REAL[], f8 DOUBLE PRECISION[], n DECIMAL(10,2)[], t TEXT[], by BYTEA[], d DATE[],
    tm TIME[], ts TIMESTAMP[], tz TIMESTAMPTZ[], iv INTERVAL[], u UUID[], jb JSONB[], r ROW(a INT, b TEXT)"""
ARRAYS = (
    [True, None, False], [-1, 2], [2**62], [0.5], [1e300], [decimal.Decimal("-1.25"), None], ["", "NULL", 'a"b\\c'], [b"", b"\x00"],
    [datetime.date(1, 1, 2)], [datetime.time(1, 2, 3)], [datetime.datetime(1969, 12, 31, 1), None],
    [datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)], [datetime.timedelta(days=-3, microseconds=7)],
    [uuid.UUID(int=2**127)], ['{"a": 1}'],
)


async def nested(conn):
    await conn.execute(f"CREATE TABLE {NAME}_nested ({NESTED})")
    places = ", ".join(f"${i + 1}" for i in range(len(ARRAYS)))
    # asyncpg cannot write a row of no named type, and reads one.
    await conn.execute(f"INSERT INTO {NAME}_nested VALUES ({places}, ROW(1, 'x, \"y\"'))", *ARRAYS)
    await conn.execute(f"INSERT INTO {NAME}_nested VALUES ({places}, NULL)", *([] for _ in ARRAYS))
    await conn.execute(f"INSERT INTO {NAME}_nested (b) VALUES (NULL)")
    rows = await conn.fetch(f"SELECT * FROM {NAME}_nested WHERE b IS NOT NULL ORDER BY r IS NULL")
    assert tuple(rows[0])[:-1] == ARRAYS, rows[0]
    assert tuple(rows[0]["r"]) == (1, 'x, "y"'), rows[0]["r"]
    assert tuple(rows[1]) == ([],) * len(ARRAYS) + (None,), rows[1]
    none = await conn.fetchrow(f"SELECT * FROM {NAME}_nested WHERE b IS NULL")
    assert all(value is None for value in none.values()), none
    data = io.BytesIO()
    await conn.copy_from_table(f"{NAME}_nested", output=data, format="binary")
    data.seek(0)
    assert await conn.copy_to_table(f"{NAME}_nested", source=data, format="binary") == "COPY 3"
    assert await conn.fetchval(f"SELECT count(*) FROM {NAME}_nested WHERE (r).a = 1 AND u[1] IS NOT NULL") == 2


async def settings(conn):
    row = await conn.fetchrow("SELECT current_setting('jit') AS was, set_config('jit', 'on', false) AS now, current_setting('jit') AS is")
    assert tuple(row) == ("off", "on", "on"), row
    name = await conn.fetchval("SELECT set_config('application_name', $1, true)", "only here")
    assert name == "only here" and await conn.fetchval("SHOW application_name") == ""
    async with conn.transaction():
        assert await conn.fetchval("SELECT set_config('application_name', x, false) FROM (VALUES ('in a query')) AS v (x)") == "in a query"
        assert await conn.fetchval("SELECT current_setting('application_' || 'name')") == "in a query"
    assert conn.get_settings().application_name == "in a query"
    # The introspection of types turns it off and on again.
    assert await conn.fetchval("SELECT current_setting('jit')") == "on"


async def copy(conn):
    await conn.execute(f"CREATE TABLE {NAME}_copy ({COLUMNS})")
    for fmt in ("text", "csv", "binary"):
        data = io.BytesIO()
        await conn.copy_from_query(f"SELECT * FROM {NAME}", output=data, format=fmt)
        data.seek(0)
        status = await conn.copy_to_table(f"{NAME}_copy", source=data, format=fmt)
        assert status == "COPY 3", status
    await conn.copy_records_to_table(f"{NAME}_copy", records=[(1, "by record")], columns=["i4", "t"])
    await conn.copy_records_to_table(f"{NAME}_copy", records=[ROW, (None,) * len(ROW)])
    assert await conn.fetchval(f"SELECT count(*) FROM {NAME}_copy") == 12
    assert await conn.fetchval(f"SELECT count(*) FROM {NAME}_copy WHERE t = $1 AND iv = $2", ROW[7], ROW[-6]) == 7
    found = io.BytesIO()
    status = await conn.copy_from_query(f"SELECT i4, t FROM {NAME}_copy WHERE i4 = $1", 1, output=found, format="csv")
    assert (status, found.getvalue()) == ("COPY 1", b"1,by record\n")


async def live(conn):
    stream = f"{NAME}_live"
    await conn.execute(f"CREATE STREAM {stream} (k TEXT, ts TIMESTAMP, WATERMARK FOR ts)")
    first = datetime.datetime(2024, 1, 1)
    reader = await asyncpg.connect(**WHERE)
    async with reader.transaction():
        cursor = await reader.cursor(
            f"""SELECT window_start, count(*) AS n FROM TUMBLE({stream}, ts, INTERVAL '1 second')
                GROUP BY window_start, window_end EMIT ON WINDOW CLOSE"""
        )
        for n in range(3):
            for moment in (first + datetime.timedelta(seconds=n), first + datetime.timedelta(seconds=n + 1)):
                await conn.execute(f"INSERT INTO {stream} VALUES ($1, $2)", "a", moment)
            row = await asyncio.wait_for(cursor.fetchrow(), 30)
            assert row["window_start"] == first + datetime.timedelta(seconds=n), row
    # A cursor that is only iterated over reads ahead; LIMIT ends the query.
    async with reader.transaction():
        seen = [row["k"] async for row in reader.cursor(f"SELECT k FROM {stream} EMIT CHANGES LIMIT 5", prefetch=2)]
    assert seen == ["a"] * 5, seen
    await reader.close()


async def cancel(conn):
    stream = f"{NAME}_live"
    other = await asyncpg.connect(**WHERE)
    try:
        await other.fetch(f"SELECT k FROM {stream} WHERE k = 'none' EMIT CHANGES", timeout=0.5)
        raise AssertionError("an endless query has ended")
    except asyncio.TimeoutError:
        pass
    assert await other.fetchval("SELECT 1") == 1
    task = asyncio.create_task(other.fetch(f"SELECT k FROM {stream} WHERE k = 'none' EMIT CHANGES"))
    await asyncio.sleep(0.2)
    task.cancel()
    try:
        await task
        raise AssertionError("a cancelled task has ended well")
    except asyncio.CancelledError:
        pass
    assert await other.fetchval("SELECT 2") == 2
    await other.close()


async def prepared(conn):
    statement = await conn.prepare(f"SELECT i4, t FROM {NAME} WHERE i4 = $1::int AND n < $2")
    rows = await statement.fetch(6, decimal.Decimal("0"))
    assert len(rows) == 2, rows
    assert [p.name for p in statement.get_parameters()] == ["int4", "numeric"], statement.get_parameters()
    assert [(a.name, a.type.name) for a in statement.get_attributes()] == [("i4", "int4"), ("t", "text")]
    for n in range(3):
        assert await statement.fetchval(6, decimal.Decimal(n)) == 6
    try:
        await conn.fetch("SELECT 1 / $1::int", 0)
        raise AssertionError("1/0 has an answer")
    except asyncpg.DivisionByZeroError:
        pass


async def many(conn):
    await conn.execute(f"CREATE TABLE {NAME}_many (a INT PRIMARY KEY, b TEXT)")
    await conn.executemany(f"INSERT INTO {NAME}_many VALUES ($1, $2)", [(n, f"b{n}") for n in range(500)])
    try:
        await conn.executemany(f"INSERT INTO {NAME}_many VALUES ($1, $2)", [(1000, "new"), (1, "there is one")])
        raise AssertionError("a key stands twice")
    except asyncpg.UniqueViolationError:
        pass
    # All of one executemany or nothing.
    assert await conn.fetchval(f"SELECT count(*) FROM {NAME}_many") == 500
    rows = await conn.fetch(f"UPDATE {NAME}_many SET b = b || $1 WHERE a < $2 RETURNING a, b", "!", 2)
    assert sorted(map(tuple, rows)) == [(0, "b0!"), (1, "b1!")], rows


async def transactions(conn):
    count = f"SELECT count(*) FROM {NAME}_many WHERE a >= 2000"
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute(f"INSERT INTO {NAME}_many VALUES (2000, 'gone')")
    assert await conn.fetchval(count) == 1
    await transaction.rollback()
    assert await conn.fetchval(count) == 0
    async with conn.transaction():
        await conn.execute(f"INSERT INTO {NAME}_many VALUES (2001, 'kept')")
        try:
            async with conn.transaction():
                await conn.execute(f"INSERT INTO {NAME}_many VALUES (2002, 'gone')")
                await conn.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            pass
    assert await conn.fetchval(count) == 1


async def pool(_):
    async with asyncpg.create_pool(**WHERE, min_size=2, max_size=2) as connections:
        async def one(n):
            async with connections.acquire() as conn:
                return await conn.fetchval("SELECT $1::int[]", [n, None])
        assert await asyncio.gather(*map(one, range(20))) == [[n, None] for n in range(20)]


async def main():
    conn = await asyncpg.connect(**WHERE)
    for part in (types, nested, settings, copy, live, cancel, prepared, many, transactions, pool):
        await part(conn)
        print(f"asyncpg {part.__name__}: ok")
    await conn.close()
    print("all is well")


asyncio.run(main())
