"""Statements of PostgreSQL's SQL that a seed makes, from generated.grammar and over the tables of generated.py.

A grammar's line becomes an expression by putting expressions in the place of its names; queries are put together by rules for
what stands where: relations with their columns, joins that merge some of them, subqueries that refer to what is around them.
A statement is a tree, so that generated.py can put a part of it in the place of the whole.
"""

import collections
import pathlib
import random
import re

GRAMMAR = pathlib.Path(__file__).with_name("generated.grammar")
TABLES = {
    "p": "id int4, k int4, s text, n dec, f float8, d date, b bool",
    "q": "id int4, k int4, s text, m int8, ts timestamp",
    "r": "k int4, s text, v int4",
    "u": "k int8, s varchar, c char, z timestamptz, i interval",
    "e": "k int4, s text",
}


class Node:
    """A piece of a statement: texts and smaller pieces. Of two pieces of one kind either may stand in the other's place."""

    def __init__(self, kind, *parts):
        self.kind, self.parts = kind, parts

    def __str__(self):
        return "".join(map(str, self.parts))

    def inner(self):
        return [part for part in self.parts if isinstance(part, Node)]

    def all(self):
        yield self
        for node in self.inner():
            yield from node.all()

    def with_other(self, old, new):
        if self is old:
            return new
        parts = [part.with_other(old, new) if isinstance(part, Node) else part for part in self.parts]
        return self if all(a is b for a, b in zip(parts, self.parts)) else Node(self.kind, *parts)


class Grammar:
    """Lines by the type that they make: `sections[kind]` are lists of lines, of which one is chosen first."""

    def __init__(self, text):
        self.lists, self.near, self.sections, self.floor = {}, {}, collections.defaultdict(list), {}
        for block in re.split(r"\n(?=\[)", re.sub(r"^#.*\n", "", text, flags=re.M)):
            if block.strip().startswith("@"):
                self.read_lists(block.strip().splitlines())
                continue
            heading, lines = block[1:].split("]", 1)
            self.read_section(heading, [piece.strip() for piece in re.split(r" ¦ |\n", lines) if piece.strip()])
        for _ in range(6):
            for kind in self.sections:
                self.floor[kind] = min((self.need(line) for _, lines in self.sections[kind] for line in lines), default=9)

    def read_lists(self, lines):
        for name, *kinds in (line[1:].split() for line in lines if line):
            if name == "near":
                self.near.update({kind: [other for other in kinds[1:] if other != kind] for kind in kinds[1:]})
            else:
                self.lists[name] = kinds

    def read_section(self, heading, lines):
        edge = heading.startswith("edge ")
        prefix = re.match(r"(of |over )?", heading.removeprefix("edge "))[0]
        heading = heading.removeprefix("edge ").removeprefix(prefix)
        result, _, kinds = re.match(r"(?:(\w+): )?(?:(\w) in )?(\w+)", heading).groups()
        for kind in self.lists.get(kinds, [kinds]) if " in " in heading else [kinds]:
            bound = [line.replace("{T}", "{" + kind + "}").replace("T_", kind) for line in lines]
            self.sections[prefix + (result or kind)].append((edge, bound))

    def need(self, line):
        """How deep an expression is at the least that begins with this line."""
        return max((1 + self.floor.get(name.removesuffix("_again"), 9) for name in slots(line)), default=0)

    def line(self, kind, depth, rng, edge):
        sections = [[line for line in lines if self.need(line) <= depth] for is_edge, lines in self.sections[kind] if edge or not is_edge]
        return rng.choice(rng.choice([lines for lines in sections if lines]))


def slots(line):
    return re.findall(r"\{([a-z]\w*)\}", line)


class Scope:
    """What an expression may refer to: columns as (reference, type, name); `inner` is the scope of aggregates' arguments."""

    def __init__(self, columns=(), outer=(), edge=False, inner=None, over=None):
        self.columns, self.outer, self.edge, self.inner, self.over = list(columns), list(outer), edge, inner, over


class Maker:
    """Makes one statement of a seed."""

    def __init__(self, grammar, seed, number):
        self.grammar, self.rng, self.aliases = grammar, random.Random(f"{seed}/{number}"), 0
        self.tables = {name: [tuple(reversed(column.split())) for column in columns.split(", ")] for name, columns in TABLES.items()}
        self.statement = self.expressions() if number % 2 else self.top()

    def chance(self, of):
        return self.rng.random() < of

    # ---- expressions

    def expressions(self):
        kinds = [self.rng.choice(self.grammar.lists["any"]) for _ in range(self.rng.choice([1, 1, 2]))]
        scope, tail = Scope(edge=True), ""
        if self.chance(0.5):
            scope.columns = [(f"c_{kind}", kind, kind) for kind in self.grammar.lists["any"]]
            tail = self.rng.choice([" FROM edges WHERE id = 1", f" FROM edges WHERE id = {self.rng.randint(1, 6)}", " FROM edges WHERE id < 4 ORDER BY id"])
        items = [self.expression(kind, self.rng.choice([1, 2, 2, 3]), scope) for kind in kinds]
        return Node("", "SELECT ", *listed(items), Node("tail?", tail))

    def expression(self, kind, depth, scope):
        rng = self.rng
        if scope.over and self.chance(0.6) and "over " + kind in self.grammar.sections:
            return self.from_line(kind, self.grammar.line("over " + kind, 99, rng, False), 1, scope.inner, scope.over)
        if scope.inner and not scope.over and self.chance(0.7) and "of " + kind in self.grammar.sections:
            return self.from_line(kind, self.grammar.line("of " + kind, 99, rng, False), rng.choice([0, 0, 1]), scope.inner)
        if depth > 0 and not scope.edge and not scope.inner and self.chance(0.1):
            found = self.subquery(kind, depth - 1, scope)
            if found:
                return found
        columns = [column[0] for column in scope.columns if column[1] == kind]
        outer = [column[0] for column in scope.outer if column[1] == kind]
        if depth == 0 or self.chance(0.15):
            if outer and self.chance(0.4):
                return Node(kind, rng.choice(outer))
            if columns and self.chance(0.6 if scope.edge else 0.85):
                return Node(kind, rng.choice(columns))
            depth = 0
        floor = self.grammar.floor[kind]
        return self.from_line(kind, self.grammar.line(kind, max(depth, floor), rng, scope.edge), depth - 1, scope)

    def from_line(self, kind, line, depth, scope, over=None):
        parts, made = [], {}
        for piece in re.split(r"(\{[a-z]\w*\})", line):
            if not slots(piece):
                parts.append(piece)
            elif piece.endswith("_again}"):
                parts.append(str(made[piece[1:-7]]))
            elif piece[1:-1] in ("total", "frame"):
                parts.append(over[piece[1:-1]]())
            else:
                name = piece[1:-1]
                near = self.grammar.near.get(name)
                wanted = self.rng.choice(near) if near and self.chance(0.05) else name
                made[name] = self.argument(wanted, name, depth, scope)
                parts.append(made[name])
        return Node(kind, *parts)

    def argument(self, kind, name, depth, scope):
        node = self.expression(kind, max(depth, 0), scope)
        if composed(str(node)):
            return Node(name, "(", *node.parts, ")")
        return Node(name, *node.parts)

    def subquery(self, kind, depth, scope):
        around = scope.columns + scope.outer[:2]
        rng, other = self.rng, self.rng.choice(["int4", "text", "int4", "int8", "date", "dec"])
        if kind != "bool":
            inner, columns = self.source(around, 0)
            if "of " + kind in self.grammar.sections and self.chance(0.7):
                line = self.grammar.line("of " + kind, 99, rng, False)
                return Node(kind, "(SELECT ", self.from_line(kind, line, 0, Scope(columns)), " FROM ", inner, self.where(Scope(columns, around), 0.8), ")")
            if kind == "ints":
                return Node(kind, "ARRAY(", self.query(["int4"], around, 0), " ORDER BY 1)")
            value = self.expression(kind, 1, Scope(columns, around))
            return Node(kind, "(SELECT ", value, " FROM ", inner, self.where(Scope(columns, around), 0.8), " ORDER BY 1 LIMIT 1)")
        left = self.expression(other, 1, scope)
        shapes = [
            lambda: ("EXISTS (", self.query([other], around, depth), ")"),
            lambda: ("NOT EXISTS (", self.query([other], around, depth), ")"),
            lambda: (left, rng.choice([" IN (", " NOT IN ("]), self.query([other], around, depth), ")"),
            lambda: (left, rng.choice([" = ", " < ", " >= ", " <> "]), rng.choice(["ANY", "ALL", "SOME"]), " (", self.query([other], around, depth), ")"),
            lambda: ("(", left, ", ", self.expression("int4", 0, scope), rng.choice([") IN (", ") NOT IN ("]), self.query([other, "int4"], around, depth), ")"),
            lambda: ("(", left, ", ", self.expression("int4", 0, scope), rng.choice([") = (", ") < ("]), self.query([other, "int4"], around, 0), " ORDER BY 1, 2 LIMIT 1)"),
        ]
        return Node("bool", *rng.choice(shapes)())

    # ---- queries

    def top(self):
        count = self.rng.choice([1, 2, 2, 3])
        kinds = [self.rng.choice(["int4", "int4", "text", "text", "int8", "bool", "dec", "numeric", "float8", "date", "timestamp", "interval", "ints"]) for _ in range(count)]
        body = self.query(kinds, (), 2, top=True)
        if str(body).startswith("SELECT *") or self.chance(0.5):
            return Node("", body)
        order = [f"{at + 1}{self.rng.choice(['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'])}" for at in range(count)]
        limit = self.rng.choice(["", "", " LIMIT 3", " LIMIT 2 OFFSET 1", " OFFSET 2", " LIMIT ALL", " LIMIT 4", " OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY"] * 2 + [" FETCH FIRST 2 ROWS WITH TIES"])
        return Node("", body, Node("tail?", " ORDER BY ", ", ".join(order), Node("limit?", limit)))

    def query(self, kinds, outer, depth, top=False):
        """A query of columns of these types; what comes of it can be followed by ORDER BY."""
        kind, roll = "query " + " ".join(kinds), self.rng.random()
        if depth > 0 and roll < 0.13:
            operator = self.rng.choice(["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"])
            return Node(kind, self.operand(kinds, outer, depth - 1), f" {operator} ", self.operand(kinds, outer, depth - 1))
        if roll < 0.17:
            rows = [Node("row?", *((", " if at else ""), "(", *listed([self.expression(one, 0, Scope((), outer)) for one in kinds]), ")")) for at in range(self.rng.randint(1, 3))]
            return Node(kind, "VALUES ", *rows)
        if depth > 0 and roll < 0.23 and not outer:
            return self.with_table(kind, kinds, depth)
        if roll < 0.42:
            return self.grouped(kind, kinds, outer, depth, top)
        if roll < 0.52 and not outer:
            return self.windowed(kind, kinds, top)
        if roll < 0.57:
            return self.distinct_on(kind, kinds, top)
        inner, columns = self.source(outer, depth)
        scope = Scope(columns, outer)
        if top and self.chance(0.15):
            return Node("star", "SELECT * FROM ", inner, self.where(scope, 0.5))
        return Node(kind, "SELECT ", Node("distinct?", "DISTINCT " if self.chance(0.15) else ""), *self.items(kinds, 2, scope, top), " FROM ", inner, self.where(scope, 0.6))

    def operand(self, kinds, outer, depth):
        made = self.query(kinds, outer, depth)
        return made if str(made).startswith(("SELECT", "VALUES")) and " ORDER BY " not in str(made) else Node(made.kind, "(", made, ")")

    def items(self, kinds, depth, scope, top):
        """What a SELECT shows: with names of its own, but for some of those on top."""
        nodes = [self.expression(kind, self.rng.randint(0, depth), scope) for kind in kinds]
        return listed([Node("item", node, Node("as?", "" if top and self.chance(0.5) else f" AS o{at}")) for at, node in enumerate(nodes)])

    def where(self, scope, of):
        return Node("where?", " WHERE ", self.expression("bool", self.rng.choice([1, 1, 2]), scope)) if self.chance(of) else Node("where?", "")

    def with_table(self, kind, kinds, depth):
        name = f"w{len(self.tables)}"
        inside = [self.rng.choice(["int4", "text", "int8"]) for _ in range(2)]
        body = self.query(inside, (), depth - 1)
        self.tables[name] = list(zip(inside, ["k", "s"]))
        around = self.query(kinds, (), depth - 1)
        return Node(kind, f"WITH {name}(k, s) AS ", self.rng.choice(["", "MATERIALIZED "]), "(", body, ") ", around)

    def grouped(self, kind, kinds, outer, depth, top):
        inner, columns = self.source(outer, depth)
        keys = self.rng.sample(columns, min(len(columns), self.rng.choice([0, 1, 1, 2, 2])))
        scope = Scope(keys, (), inner=Scope(columns))
        names = [key[0] for key in keys]
        sets = [", ".join(names)]
        if len(keys) == 2:
            a, b = names
            sets = [f"{a}, {b}", f"ROLLUP ({a}, {b})", f"CUBE ({a}, {b})", f"GROUPING SETS (({a}), ({b}), ())", f"GROUPING SETS (({a}, {b}), {b})", f"{a}, ROLLUP ({b})"]
            scope.columns += [(f"grouping({a}, {b})", "int4", ""), (f"grouping({b})", "int4", "")]
        items = self.items(kinds, 1, scope, top)
        groups = Node("group", " GROUP BY ", self.rng.choice(sets)) if keys else ""
        if not keys and not any("(" in str(item) for item in items):
            items[0] = Node("item", Node(kinds[0], "max(", self.expression(kinds[0], 0, scope.inner), ")"))
        having = Node("having?", " HAVING ", self.expression("bool", 1, scope)) if self.chance(0.25) else ""
        return Node(kind, "SELECT ", *items, " FROM ", inner, self.where(Scope(columns, outer), 0.4), groups, having)

    def windowed(self, kind, kinds, top):
        inner, columns = self.table()
        order = ", ".join(column[0] + self.rng.choice(["", " DESC", " NULLS FIRST"]) for column in self.rng.sample(columns, len(columns)) if column[1] != "interval" or self.chance(0.1))
        by = lambda: Node("by?", "PARTITION BY " + self.rng.choice(columns)[0] + " " if self.chance(0.5) else "")
        whole = [column[0] for column in columns if column[1] in ("int4", "int8")]
        over = {"total": lambda: Node("over", by(), "ORDER BY ", order, self.frame("ROWS", 0.5)), "frame": lambda: self.rng.choice([
            lambda: Node("over", by(), "ORDER BY ", order, self.frame("ROWS", 0.8)),
            lambda: Node("over", by(), "ORDER BY ", self.rng.choice(whole), self.rng.choice(["", " DESC", " NULLS FIRST"]), self.frame("RANGE", 0.8)),
            lambda: Node("over", by(), "ORDER BY ", self.rng.choice(columns)[0], self.frame("GROUPS", 0.8)),
            lambda: Node("over", by()),
        ])()}
        items = self.items(kinds, 1, Scope(columns, inner=Scope(columns), over=over), top)
        return Node(kind, "SELECT ", *items, " FROM ", inner, self.where(Scope(columns), 0.3))

    def frame(self, unit, of):
        if not self.chance(of):
            return Node("frame?", "")
        ends = ["UNBOUNDED PRECEDING", "2 PRECEDING", "1 PRECEDING", "CURRENT ROW", "1 FOLLOWING", "3 FOLLOWING", "UNBOUNDED FOLLOWING"]
        first = self.rng.randrange(6)
        last = self.rng.randrange(max(first, 1), 7)
        exclude = self.rng.choice([""] * 20 + [" EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS"])
        return Node("frame?", f" {unit} BETWEEN {ends[first]} AND {ends[last]}", Node("exclude?", exclude))

    def distinct_on(self, kind, kinds, top):
        inner, columns = self.table()
        keys = [column[0] for column in self.rng.sample(columns, self.rng.choice([1, 1, 2]))]
        rest = [column[0] + self.rng.choice(["", " DESC NULLS LAST"]) for column in columns if column[0] not in keys]
        items = self.items(kinds, 1, Scope(columns), False)
        made = Node("", "SELECT DISTINCT ON (", ", ".join(keys), ") ", *items, " FROM ", inner, self.where(Scope(columns), 0.3), " ORDER BY ", ", ".join(keys + rest))
        return Node(kind, "SELECT * FROM (", made, f") AS {self.alias()}")

    # ---- relations

    def alias(self):
        self.aliases += 1
        return f"t{self.aliases}"

    def table(self):
        name, alias = self.rng.choice([name for name in self.tables if name != "e" or self.chance(0.4)]), self.alias()
        return Node("from", f"{name} AS {alias}"), [(f"{alias}.{column}", kind, column) for kind, column in self.tables[name]]

    def source(self, outer, depth):
        """What follows FROM, with its columns."""
        roll = self.rng.random()
        if depth > 0 and roll < 0.55:
            return self.join(outer, depth)
        if depth > 0 and roll < 0.65:
            return self.derived(outer, depth, "")
        if roll < 0.72:
            alias = self.alias()
            lines = {"int4": ["generate_series(1::int, 3)", "unnest('{1,NULL,2}'::int[])"], "text": ["unnest(ARRAY['a', NULL, 'b'])", "regexp_split_to_table('a b', ' ')"]}
            kind = self.rng.choice(list(lines))
            columns = [(f"{alias}.k", kind, "k")]
            if self.chance(0.3):
                return Node("from", self.rng.choice(lines[kind]), f" WITH ORDINALITY AS {alias}(k, n)"), [*columns, (f"{alias}.n", "int8", "n")]
            return Node("from", self.rng.choice(lines[kind]), f" AS {alias}(k)"), columns
        return self.table()

    def derived(self, outer, depth, lateral):
        kinds, alias = [self.rng.choice(["int4", "text", "int8"]) for _ in range(2)], self.alias()
        names = ["k", self.rng.choice(["s", "v"])]
        return Node("from", f"{lateral}(", self.query(kinds, outer, depth - 1), f") AS {alias}({', '.join(names)})"), [(f"{alias}.{name}", kind, name) for kind, name in zip(kinds, names)]

    def join(self, outer, depth):
        left, columns = self.source((), depth - 1)
        kind = self.rng.choice(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"])
        if kind in ("JOIN", "LEFT JOIN", "CROSS JOIN") and self.chance(0.2):
            right, others = self.derived(columns, 1, "LATERAL ")
        else:
            right, others = self.table() if self.chance(0.8) else self.derived((), 1, "")
        if kind == "CROSS JOIN":
            return Node("from", left, f" {kind} ", right), columns + others
        common = sorted({column[2] for column in columns} & {column[2] for column in others})
        sorts = lambda side: {column[2]: min([*self.grammar.near.get(column[1], []), column[1]]) for column in side}
        if common and all(sorts(columns)[name] == sorts(others)[name] for name in common) and self.chance(0.55):
            natural = self.chance(0.3)
            merged = common if natural else self.rng.sample(common, self.rng.randint(1, len(common)))
            kinds = {column[2]: column[1] for column in others + columns}
            together = [(name, kinds[name], name) for name in merged] + [column for column in columns + others if column[2] not in merged]
            return Node("from", left, f" NATURAL {kind} " if natural else f" {kind} ", right, "" if natural else f" USING ({', '.join(merged)})"), together
        pairs = [f"{a[0]} = {b[0]}" for a in columns for b in others if a[1] == b[1]] or ["true"]
        more = Node("and?", " AND ", self.expression("bool", 1, Scope(columns + others))) if kind != "FULL JOIN" and self.chance(0.4) else ""
        return Node("from", left, f" {kind} ", right, " ON ", Node("bool", self.rng.choice(pairs)), more), columns + others


def composed(text):
    """Whether it needs parentheses to stand beside an operator."""
    text, before = re.sub(r"'[^']*'", "''", text), None
    while text != before:
        text, before = re.sub(r"\([^()]*\)|\[[^][]*\]", "", text), text
    return re.search(r"[^\w.:'\"$&]", text) is not None and not text.startswith("CASE ")


def listed(nodes):
    return [nodes[0], *(Node("more?", ", ", node) for node in nodes[1:])]
