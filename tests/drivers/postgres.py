"""A PostgreSQL of one's own, for the scripts that compare with it: Debian's package, over an empty directory."""

import glob
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg

USER = "postgres"


class Postgres:
    """A server over an empty directory, and a connection to it."""

    def __init__(self, port):
        self.port, self.bin, self.dir = port, binaries(), tempfile.mkdtemp()
        if os.getuid() == 0:
            shutil.chown(self.dir, USER)
        self.run("initdb", "-D", f"{self.dir}/data", "-U", "tester", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = f"-p {port} -k {self.dir} -c fsync=off -c timezone=UTC"
        self.run("pg_ctl", "-D", f"{self.dir}/data", "-o", settings, "-l", f"{self.dir}/log", "-w", "start")
        self.client = self.connect()

    def run(self, program, *arguments):
        """As a user that is not root, as PostgreSQL asks."""
        command = [f"{self.bin}/{program}", *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.dir)

    def connect(self):
        return psycopg.connect(host="127.0.0.1", port=self.port, user="tester", dbname="postgres", autocommit=True)

    def database(self, name):
        """A connection to a new database."""
        self.client.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return psycopg.connect(host="127.0.0.1", port=self.port, user="tester", dbname=name, autocommit=True)

    def end(self):
        self.client.close()
        self.run("pg_ctl", "-D", f"{self.dir}/data", "-m", "immediate", "stop")
        shutil.rmtree(self.dir, ignore_errors=True)


def binaries():
    """Where its programs are, or None where it is not installed."""
    if shutil.which("initdb"):
        return str(pathlib.Path(shutil.which("initdb")).parent)
    return next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), None)
