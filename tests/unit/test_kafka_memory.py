"""The memory of a process with several stores: its threads share one heap."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import sys
import threading

from hookmill.kafka.memory import one_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
if sys.argv[1] == "one heap":
    one_heap()
together = threading.Barrier(4)

def work():
    together.wait()
    libc.malloc(100_000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def heaps(how: str) -> int:
    """How many heaps a process has in which four threads asked for memory."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"),
    reason="only glibc has a heap for each thread",
)
def test_threads_share_one_heap() -> None:
    """Where they would each have one of their own."""
    assert heaps("one heap") == 1
    assert heaps("as ever") > 1
