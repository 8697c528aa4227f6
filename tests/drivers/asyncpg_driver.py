"""asyncpg against a running Tidemill: types, COPY, a cursor over a continuous query, cancel."""

import asyncio
import datetime
import decimal
import io
import os
import uuid

import asyncpg

WHERE = dict(host="127.0.0.1", port=int(os.environ["TIDEMILL_PORT"]), user="tester", database="tidemill")
COLUMNS = """b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n DECIMAL(12,3), t TEXT,
    by BYTEA, d DATE, tm TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, u UUID, j JSON, jb JSONB, ai INT[], at TEXT[]"""
NAME = f"asyncpg_{os.getpid()}"
ROW = (
    True, -5, 6, 2**62, 0.5, -0.1, decimal.Decimal("-12345.678"), "Zoë 'q' \\ 🦀", b"\x00\xff",
    datetime.date(1969, 12, 31), datetime.time(23, 59, 58, 123456), datetime.datetime(1969, 12, 31, 23, 59, 58, 5),
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


async def copy(conn):
    await conn.execute(f"CREATE TABLE {NAME}_copy ({COLUMNS})")
    for fmt in ("text", "csv", "binary"):
        data = io.BytesIO()
        await conn.copy_from_query(f"SELECT * FROM {NAME}", output=data, format=fmt)
        data.seek(0)
        status = await conn.copy_to_table(f"{NAME}_copy", source=data, format=fmt)
        assert status == "COPY 3", status
    await conn.copy_records_to_table(f"{NAME}_copy", records=[(1, "by record")], columns=["i4", "t"])
    assert await conn.fetchval(f"SELECT count(*) FROM {NAME}_copy") == 10


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
    await other.close()


async def prepared(conn):
    statement = await conn.prepare(f"SELECT i4, t FROM {NAME} WHERE i4 = $1::int AND n < $2")
    rows = await statement.fetch(6, decimal.Decimal("0"))
    assert len(rows) == 2, rows
    try:
        await conn.fetch("SELECT 1 / $1::int", 0)
        raise AssertionError("1/0 has an answer")
    except asyncpg.DivisionByZeroError:
        pass


async def main():
    conn = await asyncpg.connect(**WHERE)
    for part in (types, copy, live, cancel, prepared):
        await part(conn)
        print(f"asyncpg {part.__name__}: ok")
    await conn.close()
    print("all is well")


asyncio.run(main())
