"""Processes that have children of their own."""

import sys
import time

import psutil

from cli.stack.process import start, stop_groups
from tests.stack import eventually

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(99)
"""
TREE = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])"


def test_a_tree_ends_whole_even_when_a_grandchild_does_not_listen(tmp_path):
    """SIGTERM reaches the group, and what ignores it is killed after the grace."""
    log = tmp_path / "log"
    parent = start([sys.executable, "-c", TREE], log)
    eventually(lambda: "up" in log.read_text(), 30, "the grandchild")
    family = [psutil.Process(parent.pid), *psutil.Process(parent.pid).children(recursive=True)]
    assert len(family) == 2
    began = time.monotonic()
    stop_groups([parent], seconds=0.5)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert time.monotonic() - began < 9
