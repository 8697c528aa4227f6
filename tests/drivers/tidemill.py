"""A server of one's own, for the scripts that compare it with DuckDB."""

import shutil
import subprocess
import tempfile
import time

import psycopg


class Tidemill:
    """A server over an empty directory, and a connection to it."""

    def __init__(self, program, ports):
        self.program, self.ports, self.dir = program, ports, tempfile.mkdtemp()
        self.start()

    def start(self):
        listen, http = (f"127.0.0.1:{port}" for port in self.ports)
        command = [self.program, "serve", "--data-dir", self.dir, "--listen", listen, "--http", http]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                self.client = self.connect()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def connect(self):
        return psycopg.connect(host="127.0.0.1", port=self.ports[0], user="tester", dbname="tidemill", autocommit=True)

    def stop(self):
        """As kill -9 does."""
        self.process.kill()
        self.process.wait()

    def end(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
