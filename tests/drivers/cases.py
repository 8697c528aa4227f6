"""Cases with their answers, each asked in all the ways in which a query can be.

    cases.py BIN FILE… [--ports N N]

A file is statements that make relations and fill them, and blocks

    -- query NAME (ways: snap, pre, post, sub, eowc)
    SELECT …;
    -- expect 2 rows
    --   1|∅
    --   2|b

`snap` asks the query once, `pre` reads the view pre_NAME that the file makes before the rows, `post` a view made now, `sub`
adds up what a subscriber of the query is told, `eowc` reads it on window close while the watermark goes to infinity. NULL is
∅, rows have no order, numbers are compared to twelve digits; `-- expect error A/B` names SQLSTATEs. Prints what differs, and
"all is well" if nothing does.
"""

import argparse
import collections
import pathlib
import re
import threading
import time

import psycopg

from answers import NULL, ask, same_rows
from tidemill import Tidemill

BLOCK = re.compile(r"^-- query (\w+)(?: \(ways: ([\w, ]*)\))?\n(.*?);\n-- expect (?:error ([\w/]+)|\d+ rows)\n((?:--   [^\n]*\n)*)", re.M | re.S)
PATIENCE_S = 10


class Case:
    """A query of a file with its answer."""

    def __init__(self, name, ways, query, codes, rows):
        self.name, self.query = name, query
        self.ways = [way.strip() for way in (ways or "snap").split(",") if way.strip()] or ["snap"]
        self.codes = codes.split("/") if codes else None
        self.rows = [tuple(line[5:].split("|")) for line in rows.splitlines()]

    def differs(self, rows):
        # A value may have a | in it, as it has in the file.
        parted = [tuple("|".join(row).split("|")) for row in rows]
        return None if same_rows(parted, self.rows) else f"has {show(rows)}, expected {show(self.rows)}"


def show(rows):
    return "; ".join("|".join(row) for row in rows[:12]) or "no rows"


class File:
    """A file's cases over a server of its own."""

    def __init__(self, path, options):
        self.server, self.streams = Tidemill(options.bin, options.ports), []
        self.client = self.server.client
        self.text = path.read_text() + "\n"

    def differences(self):
        """Of each case and way what is not as expected, or None."""
        end = 0
        for block in BLOCK.finditer(self.text):
            self.prepare(self.text[end:block.start()])
            end = block.end()
            case = Case(*block.groups())
            for way in case.ways:
                yield f"{case.name} ({way})", self.difference(case, way), case.query

    def prepare(self, statements):
        for statement in statements.split(";\n"):
            statement = "\n".join(line for line in statement.splitlines() if not line.startswith("--")).strip()
            if not statement or statement.startswith("SELECT * FROM pre_"):
                continue
            answer = ask(self.client, statement)
            if answer.code:
                print(f"    {statement}\n        {answer}")
            self.streams += re.findall(r"^CREATE STREAM (\w+)", statement)

    def difference(self, case, way):
        try:
            return getattr(self, way)(case)
        except psycopg.Error as error:
            return str(error)

    def snap(self, case):
        return self.judged(case, ask(self.client, case.query))

    def pre(self, case):
        return self.judged(case, ask(self.client, f"SELECT * FROM pre_{case.name}"))

    def post(self, case):
        made = ask(self.client, f"CREATE MATERIALIZED VIEW post_{case.name} AS {case.query}")
        if made.code:
            return str(made)
        return self.judged(case, ask(self.client, f"SELECT * FROM post_{case.name}"))

    def judged(self, case, answer):
        if case.codes:
            return None if answer.code in case.codes else f"has {answer}, expected {'/'.join(case.codes)}"
        return str(answer) if answer.code else case.differs(answer.rows)

    def sub(self, case):
        """Adds changes up until they are the answer, or none have come for a while."""
        reader, told, end = self.server.connect(), collections.Counter(), time.monotonic() + PATIENCE_S
        ask(reader, "BEGIN")
        declared = ask(reader, f"DECLARE c CURSOR FOR SUBSCRIBE ({case.query})")
        if declared.code:
            return str(declared)
        while True:
            answer = ask(reader, "FETCH ALL FROM c WITH (timeout = '100 ms')")
            if answer.code:
                return str(answer)
            for row in answer.rows:
                told[row[2:]] += int(row[1])
            difference = case.differs(list(told.elements())) or (f"takes back {-told}" if -told else None)
            if difference is None or time.monotonic() > end:
                reader.close()
                return difference

    def eowc(self, case):
        reader, rows = self.server.connect(), []
        thread = threading.Thread(target=read, args=(reader, case.query, rows))
        thread.start()
        for stream in self.streams:
            ask(self.client, f"SELECT advance_watermark('{stream}', 'infinity')")
        end = time.monotonic() + PATIENCE_S
        while thread.is_alive() and time.monotonic() < end and case.differs(rows):
            time.sleep(0.02)
        reader.cancel()
        thread.join()
        return case.differs(rows)


def read(reader, query, rows):
    try:
        with reader.cursor().copy(f"COPY ({query} EMIT ON WINDOW CLOSE) TO STDOUT") as copy:
            for row in copy.rows():
                rows.append(tuple(NULL if value is None else value for value in row))
    except psycopg.errors.QueryCanceled:
        pass
    except psycopg.Error as error:
        rows.append((str(error),))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--ports", type=int, nargs=2, default=[25473, 25474])
    options = parser.parse_args()
    asked = wrong = 0
    for path in options.files:
        file = File(path, options)
        for name, difference, query in file.differences():
            asked += 1
            if difference:
                wrong += 1
                print(f"{path.stem}, {name}: {difference}\n    {query}", flush=True)
        file.server.end()
    print(f"{asked} answers" + (f", {wrong} differ" if wrong else ", all is well"))


main()
