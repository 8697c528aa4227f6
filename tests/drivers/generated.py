"""Statements that a seed makes, asked of Tidemill and of a PostgreSQL beside it.

    generated.py BIN --statements N --seed S [--left FILE] [--ports N N] [--postgres N] [--first N]

Half of them are expressions over edge values (generated.grammar: types, operators, functions), as constants and as columns of
a table; half are queries over five small tables with NULLs and doubled rows: joins, subqueries, set operations, DISTINCT ON,
grouping sets, windows. What they ask for has one answer: no ties are cut, no order is left open. Statement number n of seed s
is always the same one. Rows are compared as texts (doubles to twelve digits, in order where the query has one), and columns'
types and names, and SQLSTATEs; messages are not. A difference is one of KNOWN, by name and reason, or it is new: then it is
made smaller for as long as it remains the same difference, counted by its kind, written to --left, and the script exits with 1.
"""

import argparse
import atexit
import collections
import decimal
import pathlib
import re
import sys
import threading

from answers import alike, ask
from postgres import Postgres
from statements import GRAMMAR, TABLES, Grammar, Maker, Node, slots
from tidemill import Tidemill

PATIENCE_S, TRIES = 30, 150
ZONES = ["UTC", "America/New_York", "Asia/Kolkata"]
ROWS = """
INSERT INTO p VALUES (1, 1, 'a', 1.5, 2.5, '2020-01-01', true), (2, 1, 'b', -2, 0, '2020-01-31', false), (3, 2, NULL, NULL, -1.25, NULL, NULL),
 (3, 2, NULL, NULL, -1.25, NULL, NULL), (NULL, NULL, 'a', 0, NULL, '1999-12-31', true), (4, NULL, '', 10.125, 100, '2020-01-01', NULL), (5, 7, 'B', 3, 0.5, '2024-02-29', false);
INSERT INTO q VALUES (1, 1, 'a', 10, '2020-01-01 10:00'), (1, 1, 'a', 10, '2020-01-01 10:00'), (2, 3, 'b', NULL, NULL), (NULL, 2, NULL, -5, '2021-03-14 02:30'),
 (6, NULL, 'c', 4000000000, '1999-12-31 23:59:59.5'), (4, 7, '', 0, '2020-01-31');
INSERT INTO r VALUES (1, 'a', 10), (2, 'b', NULL), (2, 'b', 20), (NULL, NULL, 30), (NULL, NULL, 30), (9, 'z', 0), (3, '', -1);
INSERT INTO u VALUES (1, 'a', 'x', '2020-01-01 00:00+00', '1 day'), (2, NULL, 'ab', NULL, '-2 hours'), (NULL, 'b', NULL, '2021-03-14 07:00+00', NULL),
 (7, 'B', 'x', '2020-01-01 00:00+00', '1 mon'), (7, 'B', 'x', '2020-01-01 00:00+00', '1 mon')
"""
NAMES = {"dec": "numeric(10,3)", "varchar": "varchar(5)", "char": "char(3)", "ints": "int[]", "texts": "text[]", "floats": "float8[]"}
EDGES = """bool: true, NULL, false, true, false, true | int2: 3, NULL, 0, 32767, -32768, 1 | int4: 5, NULL, 0, 2147483647, -2147483648, 1
int8: 12, NULL, 0, 9223372036854775807, -9223372036854775808, 1 | numeric: 1.50, NULL, 0, 999999999999.99, -999999999999.99, 0.00001
dec: 2.125, NULL, 0, 9999999.999, -9999999.999, 0.001 | float4: 1.5, NULL, 0, 3.4e38, -3.4e38, NaN | float8: 2.5, NULL, 0, 1.7e308, -Infinity, NaN
text: Abc, NULL, , zäöü€, 'q"\\%_, 12 | varchar: abc, NULL, , long, ä, 1 | char: ab, NULL, , xyz, ä, 1 | bytea: \\x0a41, NULL, , \\xffffffff, \\x00, abc
date: 2020-02-29, NULL, 1970-01-01, infinity, -infinity, 0001-01-01 | time: 12:30:45.5, NULL, 00:00, 24:00, 23:59:59.999999, 00:00:00.000001
timestamp: 2020-02-29 12:34:56.789, NULL, 1970-01-01, infinity, -infinity, 1969-12-31 23:59:59.999999
timestamptz: 2021-03-14 06:59:59+00, NULL, 1970-01-01 00:00+00, infinity, -infinity, 1900-01-01 00:00+00
interval: 1 day 02:00, NULL, 0, 1000 years, -1000 years, 1 mon -1 day | uuid: a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11, NULL, 00000000-0000-0000-0000-000000000000, ffffffff-ffff-ffff-ffff-ffffffffffff, NULL, NULL
jsonb: {"a": 1}, NULL, {}, [1], null, "s" | ints: {1;2;3}, NULL, {}, {2147483647;NULL}, {7;7}, {0} | texts: {a;b}, NULL, {}, {"x y";NULL}, {""}, {1}
floats: {1.5}, NULL, {}, {NaN;Infinity}, {-1}, {0}"""


class Both:
    """Both servers with the same tables."""

    def __init__(self, options):
        self.options, self.postgres = options, Postgres(options.postgres)
        atexit.register(self.end)
        self.prepare(self.postgres.client)
        self.types = dict(self.postgres.client.execute("SELECT oid::int8, format_type(oid, NULL) FROM pg_type").fetchall())
        self.begin()

    def begin(self):
        self.server = Tidemill(self.options.bin, self.options.ports)
        self.prepare(self.server.client)

    def prepare(self, client):
        edges = {kind: values.split(", ") for kind, values in (line.split(": ", 1) for line in re.split(r" \| |\n", EDGES))}
        kinds = lambda columns: ", ".join(f"{name} {NAMES.get(kind, kind)}" for name, kind in columns)
        statements = [f"SET timezone = '{ZONES[self.options.seed % len(ZONES)]}'", "SET statement_timeout = '20 s'"]
        statements += [f"CREATE TABLE {name} ({kinds([column.split() for column in columns.split(', ')])})" for name, columns in TABLES.items()]
        statements += ROWS.strip().split(";\n") + [f"CREATE TABLE edges (id int, {kinds([('c_' + kind, kind) for kind in edges])})"]
        for at in range(6):
            values = [values[at].replace(";", ",").replace("'", "''") for values in edges.values()]
            statements.append(f"INSERT INTO edges VALUES ({at + 1}, {', '.join('NULL' if value == 'NULL' else chr(39) + value + chr(39) for value in values)})")
        for statement in statements:
            answer = ask(client, statement)
            if answer.code:
                sys.exit(f"{statement}\n{answer}")

    def ask(self, sql):
        theirs = ask(self.postgres.client, sql)
        timer = threading.Timer(PATIENCE_S, self.server.process.kill)
        timer.start()
        try:
            ours = ask(self.server.client, sql)
        finally:
            timer.cancel()
        if self.server.client.closed or self.server.client.pgconn.status:
            ours.code, ours.message = "gone", "the connection ended"
            self.server.end()
            self.begin()
        return theirs, ours

    def end(self):
        self.postgres.end()
        self.server.end()


# ---- what differs


def difference(sql, theirs, ours, types):
    """What differs in a few words, or None."""
    if theirs.code or ours.code:
        if theirs.code == ours.code:
            return None
        if not ours.code:
            return f"answered, refused there with {theirs.code}"
        return f"refused with {ours.code}, there {theirs.code or 'answered'}"
    if len(theirs.types) != len(ours.types):
        return "another number of columns"
    if len(theirs.rows) != len(ours.rows):
        return "another number of rows"
    pairs = list(zip(theirs.types, ours.types))
    if not same(theirs, ours, bool(re.search(r"ORDER BY [^()]*$", sql))):
        return "other digits of numeric" if same(theirs, ours, False, equal) else "other values"
    if theirs.types != ours.types:
        differ = {pair for pair in pairs if pair[0] != pair[1]}
        return "other types: " + ", ".join(sorted(f"{types.get(b, b)} for {types.get(a, a)}" for a, b in differ))
    return None if theirs.names == ours.names else "other names"


REAL = {700, 701, 1021, 1022}


def equal(one, other, kind):
    """Whether numbers are one number, however many zeros they end with."""
    try:
        return exact(one, other, kind) or kind == 1700 and decimal.Decimal(one) == decimal.Decimal(other)
    except decimal.InvalidOperation:
        return False


def exact(one, other, kind):
    """Whether two texts of a type are one value: doubles to twelve digits."""
    if kind in REAL:
        one, other = (value.strip("{}").split(",") for value in (one, other))
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def same(theirs, ours, ordered, one=None):
    one = one or exact
    kinds = [b if b in REAL else a for a, b in zip(theirs.types, ours.types)]
    fits = lambda a, b: all(one(x, y, kind) for x, y, kind in zip(a, b, kinds))
    if ordered:
        return all(map(fits, theirs.rows, ours.rows))
    left = list(ours.rows)
    for row in theirs.rows:
        at = next((at for at, other in enumerate(left) if fits(row, other)), None)
        if at is None:
            return False
        left.pop(at)
    return True


def only(answer, other):
    """Rows that one answer has and the other has not, as texts."""
    return "; ".join("|".join(row) for row in (collections.Counter(answer.rows) - collections.Counter(other.rows)).elements())


def not_a_number(sql, theirs, ours):
    return ours.code == "0A000" and "NaN and Infinity" in ours.message


def digits(sql, theirs, ours):
    return ours.code == "22003" and not theirs.code and 1700 in theirs.types and any(len(value) > 38 for row in theirs.rows for value in row)


def scale(sql, theirs, ours):
    def near(a, b, kind):
        if kind != 1700 or a == b:
            return a == b
        try:
            a, b = decimal.Decimal(a), decimal.Decimal(b)
        except decimal.InvalidOperation:
            return False
        return abs(a - b) <= decimal.Decimal(1).scaleb(max(a.as_tuple().exponent, b.as_tuple().exponent)) * 1

    divides = re.search(r" / |\b(avg|stddev|variance|var|sqrt|exp|ln|log|log10|power|pow)\w*\(|\^", sql)
    return divides and theirs.types == ours.types and len(theirs.rows) == len(ours.rows) and same(theirs, ours, False, near)


def zeros(sql, theirs, ours):
    alike_but = theirs.types == ours.types and theirs.names == ours.names and len(theirs.rows) == len(ours.rows)
    return alike_but and same(theirs, ours, False, equal)


def fields(sql, theirs, ours):
    return re.search(r"interval\(0\)|(?i:interval '[^']*' (minute|year to month))|interval day to minute", sql)


# Differences of known kinds: a name, the reason, and whether one is of the kind.
KNOWN = [
    ("NaN of NUMERIC", "NUMERIC has neither NaN nor infinity and says so", not_a_number),
    ("digits of NUMERIC", "NUMERIC has 38 digits before and 38 after the point and refuses more", digits),
    ("scale of NUMERIC", "results of division, avg and roots have another number of digits", scale),
    ("zeros of NUMERIC", "a column has one number of places, or shows none at the end; there each value has its own", zeros),
    ("fields of intervals", "interval's fields and digits are read and do not cut", fields),
]


class Count:
    """Of the statements that were asked."""

    def __init__(self, both):
        self.both, self.asked, self.answered, self.alike = both, 0, 0, 0
        self.known, self.kinds, self.left = collections.Counter(), collections.Counter(), []

    def take(self, number, statement):
        theirs, ours = self.both.ask(str(statement))
        self.asked += 1
        self.answered += theirs.code is None
        found = self.judged(str(statement), theirs, ours)
        if not found:
            self.alike += 1
        elif found[0] == "known":
            self.known[found[1]] += 1
        else:
            self.kinds[found[1]] += 1
            small, theirs, ours = self.smaller(statement, found, theirs, ours)
            shown = "".join(f"  {who}: {answer} {self.named(answer)}\n" for who, answer in (("PostgreSQL", theirs), ("Tidemill", ours)))
            if found[1] in ("other values", "another number of rows"):
                shown += f"  only there: {only(theirs, ours)}\n  only here: {only(ours, theirs)}\n"
            self.left.append(f"[{found[1]}] {number}\n{small}\n{shown}  of: {statement}\n")

    def named(self, answer):
        return [(name, self.both.types.get(kind, kind)) for name, kind in zip(answer.names, answer.types)]

    def judged(self, sql, theirs, ours):
        found = difference(sql, theirs, ours, self.both.types)
        if found:
            known = next((name for name, _, meets in KNOWN if ours.code != "gone" and meets(sql, theirs, ours)), None)
            return ("known", known) if known else ("new", found)
        return None

    def smaller(self, statement, found, theirs, ours):
        """The statement without what the difference does not need."""
        tries, again = 0, True
        while again and tries < TRIES and ours.code != "gone":
            again = False
            for other in simpler(statement, self.both.grammar):
                tries += 1
                answers = self.both.ask(str(other))
                if self.judged(str(other), *answers) == found:
                    statement, (theirs, ours), again = other, answers, True
                    break
                if tries >= TRIES:
                    break
        return statement, theirs, ours

    def report(self):
        print(f"{self.asked} statements, PostgreSQL answers {self.answered}, {self.alike} alike")
        for name, reason, _ in KNOWN:
            print(f"{self.known[name]:6} {name}: {reason}")
        for kind, count in self.kinds.most_common():
            print(f"{count:6} new: {kind}")


def simpler(statement, grammar):
    """Statements with less in them: without a piece, or with a part of it or a literal in its place."""
    for node in list(statement.all())[1:]:
        text = str(node)
        if node.kind.endswith("?") and text:
            yield statement.with_other(node, Node(node.kind, ""))
        for other in node.all():
            if other is not node and other.kind == node.kind and str(other) != text:
                yield statement.with_other(node, other)
        if node.inner() and node.kind in grammar.sections and " " not in node.kind:
            literal = grammar.sections[node.kind][0][1][0]
            if not slots(literal) and literal != text:
                yield statement.with_other(node, Node(node.kind, literal))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--statements", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--left", type=pathlib.Path)
    parser.add_argument("--ports", type=int, nargs=2, default=[25783, 25784])
    parser.add_argument("--postgres", type=int, default=25785)
    options = parser.parse_args()
    both = Both(options)
    both.grammar = Grammar(GRAMMAR.read_text())
    count = Count(both)
    try:
        for number in range(options.first, options.first + options.statements):
            count.take(number, Maker(both.grammar, options.seed, number).statement)
    finally:
        if options.left:
            options.left.write_text("\n".join(sorted(count.left)))
    count.report()
    sys.exit(1 if count.left else 0)


main()
