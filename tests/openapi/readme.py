"""Runs the commands and the Python of README.md's section "Calling it" against a running server.

    python readme.py URL EKIDEN TYPES

Each block is run as it stands there, but for the servers' addresses: of `ekiden serve`, which is at URL, and of the example
`types`, which is started here. EKIDEN and TYPES are the programs. `python` blocks print what the `console` blocks behind
them show, and commands begin with `$ `. Numbers may differ in their last digits.
"""

import contextlib
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
SECTION = "## Calling it"
SERVED, TYPES = "127.0.0.1:3000", "127.0.0.1:3003"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def main(url: str, ekiden: str, types: str) -> None:
    text = README.read_text()
    section = re.search(rf"^{SECTION}\n(.*?)^## ", text, re.S | re.M)
    assert section, f"README.md has no section {SECTION}"
    blocks = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", section[1], re.S | re.M)
    address = lambda url: url.rstrip("/").removeprefix("http://")
    place = lambda text: text.replace(SERVED, address(url)).replace(TYPES, address(types))
    with tempfile.TemporaryDirectory() as folder, served(types) as types:
        path = f"{folder}:{os.environ['PATH']}"
        os.symlink(Path(ekiden).resolve(), Path(folder) / "ekiden")
        run = lambda command: subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
        ).stdout
        printed, count = None, 0
        for language, block in blocks:
            if language == "python":
                printed = run([sys.executable, "-c", place(block)])
                count += 1
            elif language == "console" and not block.startswith("$ "):
                assert printed is not None, f"this is nobody's output:\n{block}"
                same(printed, block)
                printed = None
            elif language == "console":
                for command, output in re.findall(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n?)*)", block, re.M):
                    found = run(["bash", "-c", ekiden_at(place(command), url)])
                    if output.strip():
                        same(found, output)
                    count += 1
    assert count >= 8, f"only {count} commands were found"
    print(f"{count} commands and programs of README.md do what it says")


@contextlib.contextmanager
def served(program: str) -> Iterator[str]:
    """The URL of a server that runs this program."""
    process = subprocess.Popen([program, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        urls = (re.search(r"listening on (http://[\d.:]+)", line) for line in process.stdout)
        yield next(found[1] for found in urls if found)
    finally:
        process.kill()
        process.wait()


def ekiden_at(command: str, url: str) -> str:
    """`ekiden call` asks the default address by itself."""
    return re.sub(r"\bekiden call\b", f"ekiden call --url {url}", command)


def same(found: str, expected: str) -> None:
    """Compares texts, numbers by their value."""
    words = lambda text: NUMBER.sub("#", re.sub(r"[\s]+", " ", text)).strip()
    assert words(found) == words(expected), f"expected\n{expected}found\n{found}"
    for one, other in zip(NUMBER.findall(found), NUMBER.findall(expected)):
        assert math.isclose(float(one), float(other), rel_tol=1e-3, abs_tol=1e-9), f"expected {other}, found {one}"


if __name__ == "__main__":
    main(*sys.argv[1:])
