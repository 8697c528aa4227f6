"""What a server answers to a statement over the simple protocol: texts as they come, for comparing servers."""

from psycopg.pq import DiagnosticField, ExecStatus

NULL = "∅"


class Answer:
    """Columns' names and types with rows of texts, or an SQLSTATE with its message."""

    def __init__(self, result):
        self.code, self.message, self.names, self.types, self.rows = None, None, [], [], []
        if result.status == ExecStatus.FATAL_ERROR:
            self.code = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
            self.message = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        elif result.status == ExecStatus.TUPLES_OK:
            self.names = [result.fname(at).decode() for at in range(result.nfields)]
            self.types = [result.ftype(at) for at in range(result.nfields)]
            self.rows = [tuple(text(result.get_value(row, at)) for at in range(result.nfields)) for row in range(result.ntuples)]

    def __str__(self):
        return f"{self.code}: {self.message}" if self.code else "; ".join("|".join(row) for row in self.rows[:8])


def text(value):
    return NULL if value is None else value.decode()


def ask(connection, sql):
    """What comes of one statement, or of the last of several; a COPY that it begins is not read."""
    return Answer(connection.pgconn.exec_(sql.encode()))


def alike(one, other):
    """Whether two texts are one value: numbers to twelve digits."""
    if one == other:
        return True
    try:
        a, b = float(one), float(other)
    except ValueError:
        return False
    return a == b or abs(a - b) <= 1e-11 * max(abs(a), abs(b))


def same_rows(found, expected, ordered=False):
    """Whether there are the same rows, in any order unless they have one."""
    if len(found) != len(expected):
        return False
    if ordered:
        return all(len(row) == len(other) and all(map(alike, row, other)) for row, other in zip(found, expected))
    left = list(expected)
    for row in found:
        at = next((at for at, other in enumerate(left) if len(row) == len(other) and all(map(alike, row, other))), None)
        if at is None:
            return False
        left.pop(at)
    return True
