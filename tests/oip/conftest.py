"""A server of every datatype, for as long as the tests of a file take: the program that EKIDEN_TYPES names, which
`cargo build --example types` makes (target/debug/examples/types)."""

import os
import signal
import subprocess
import threading

import pytest


class Server:
    """Where the program listens: `host:port`, without the scheme."""

    def __init__(self, *arguments):
        program = os.environ.get("EKIDEN_TYPES", "target/debug/examples/types")
        binds = ["--bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen([program, *binds], stdout=subprocess.PIPE, text=True)
        self.said = {}
        for line in self.process.stdout:
            what, _, where = line.partition(" on ")
            self.said[what] = where.split(";")[0].strip().removeprefix("http://")
            if what == "listening":
                break
        assert "listening" in self.said, "it did not say where it listens"
        # A program whose output nobody reads cannot stop in peace.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    @property
    def http(self):
        return self.said["listening"]

    @property
    def admin(self):
        return self.said["taking orders"]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    assert server.stop() == 0
