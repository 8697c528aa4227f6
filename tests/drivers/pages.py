"""Pages of other projects (sqllogictest), asked of Tidemill and of a PostgreSQL beside it.

    pages.py BIN FILE|FOLDER… [--ports N N] [--postgres N] [--left FILE] [--skip TEXT]

PostgreSQL says which of a page's statements mean something to it: those whose answer is the page's. Of these it is counted
how many Tidemill answers so, too, by folder; what it refuses is counted by its message. A materialized view is a view there.
Each page has a server and a database of its own, and a statement that takes longer than fifteen seconds is cancelled.
"""

import argparse
import collections
import pathlib
import re
import threading

from answers import NULL, Answer, alike, ask
from postgres import Postgres
from tidemill import Tidemill

RECORD = re.compile(r"^(statement|query|simple)\b(.*)$")
PATIENCE_S = 15


class Record:
    """A statement of a page with what it expects: an error, rows, or only that it goes well."""

    def __init__(self, place, kind, rest, lines):
        self.place, words = place, rest.split()
        parts = "\n".join(lines).split("\n----", 1)
        self.sql = parts[0].strip().rstrip(";")
        self.error = kind == "statement" and words[:1] == ["error"] or kind == "query" and words[:1] == ["error"]
        self.rows = [line for line in parts[1].splitlines()[1:]] if len(parts) > 1 and kind == "query" and not self.error else None
        self.columns = len(words[0]) if kind == "query" and words else 0
        self.sorted = any("sort" in word for word in words[1:]) and "nosort" not in words

    def met_by(self, answer):
        if self.error:
            return answer.code is not None
        if answer.code:
            return False
        if self.rows is None:
            return True
        found = [" ".join(shown(value) for value in row).split() for row in answer.rows]
        for expected in (self.rows, self.by_row()):
            expected = [line.split() for line in expected if line.strip()]
            pairs = zip(sorted(found), sorted(expected)) if self.sorted else zip(found, expected)
            if len(found) == len(expected) and all(len(a) == len(b) and all(map(alike, a, b)) for a, b in pairs):
                return True
        return False

    def by_row(self):
        """Rows of pages that have a value a line."""
        if self.columns < 2 or len(self.rows) % self.columns:
            return []
        return [" ".join(self.rows[at : at + self.columns]) for at in range(0, len(self.rows), self.columns)]


def shown(value):
    return {NULL: "NULL", "": "(empty)"}.get(value, value)


def records(path, seen=()):
    """A page's records, with those of pages that it includes."""
    lines, at = path.read_text(errors="replace").splitlines(), 0
    skipped = False
    while at < len(lines):
        line, start = lines[at].rstrip(), at + 1
        at += 1
        if line.startswith(("skipif", "onlyif")):
            skipped = line.split()[1].lower() in {"postgres", "postgresql"} if line.startswith("skipif") else line.split()[1].lower() not in {"postgres", "postgresql", "risingwave", "materialize"}
            continue
        if line.startswith("include "):
            for page in sorted(path.parent.glob(line.split()[1])):
                if page not in seen:
                    yield from records(page, (*seen, path))
            continue
        if line == "halt":
            return
        found = RECORD.match(line)
        if not found:
            continue
        body = []
        while at < len(lines) and lines[at].strip():
            body.append(lines[at])
            at += 1
        if not skipped and body:
            yield Record(f"{path.name}:{start}", found[1], found[2], body)
        skipped = False


def patient(connection, sql):
    """The answer, or that of a statement that was cancelled."""
    timer = threading.Timer(PATIENCE_S, connection.cancel)
    timer.start()
    try:
        return ask(connection, sql)
    finally:
        timer.cancel()


def as_views(sql):
    return re.sub(r"\bMATERIALIZED\s+VIEW\b", "VIEW", sql, flags=re.I)


class Count:
    """Of the statements that PostgreSQL answers as the page does, by folder and by refusal."""

    def __init__(self):
        self.asked, self.met = collections.Counter(), collections.Counter()
        self.reasons, self.left = collections.Counter(), []

    def take(self, folder, record, theirs, ours):
        self.asked[folder] += 1
        if record.met_by(ours) or (not record.error and not ours.code and ours.rows == theirs.rows):
            self.met[folder] += 1
            return
        reason = reason_of(record, ours)
        self.reasons[reason] += 1
        self.left.append(f"{folder} {record.place} [{reason}]\n{record.sql}\n  PostgreSQL: {theirs}\n  Tidemill: {ours}\n")

    def report(self):
        for reason, count in self.reasons.most_common(60):
            print(f"{count:5} {reason}")
        for folder in sorted(self.asked):
            print(f"{folder}: {self.met[folder]} of {self.asked[folder]}, {self.met[folder] / self.asked[folder]:.1%}")
        met, asked = sum(self.met.values()), sum(self.asked.values())
        print(f"{met} of {asked}, {met / max(asked, 1):.1%}")


def reason_of(record, ours):
    if record.error:
        return "is accepted"
    if not ours.code:
        return "another value"
    return ours.code + " " + re.sub(r'"[^"]*"|\b\d+\b', "…", ours.message)[:90]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    parser.add_argument("--ports", type=int, nargs=2, default=[25483, 25484])
    parser.add_argument("--postgres", type=int, default=25485)
    parser.add_argument("--left", type=pathlib.Path)
    parser.add_argument("--skip", default="\0")
    options = parser.parse_args()
    postgres, count, number = Postgres(options.postgres), Count(), 0
    for top in options.paths:
        pages = [top] if top.is_file() else sorted(page for page in top.rglob("*.slt*") if page.suffix in {".slt", ".part"} or ".slt." not in page.name)
        for page in pages:
            if options.skip in str(page) or page.suffix == ".part":
                continue
            number += 1
            folder = "/".join(page.relative_to(top).parts[:1]) if top.is_dir() and len(page.relative_to(top).parts) > 1 else top.name
            ask_both(page, folder, Tidemill(options.bin, options.ports), postgres.database(f"p{number}"), count)
    postgres.end()
    if options.left:
        options.left.write_text("\n".join(count.left))
    count.report()


def ask_both(page, folder, server, beside, count):
    for record in records(page):
        if re.match(r"(?i)\s*(flush|wait|recover)\b", record.sql):
            continue
        theirs = patient(beside, as_views(record.sql))
        if beside.closed:
            break
        ours = patient(server.client, record.sql)
        if server.client.closed:
            print(f"{page}: the connection ended at {record.place}")
            break
        if record.met_by(theirs):
            count.take(folder, record, theirs, ours)
    beside.close()
    server.end()


main()
