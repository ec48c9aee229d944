"""How RocksDB is set up, and how much memory the stores of a process may take together.

A process owns any number of partitions, each with a database of its own. One cache and one budget
of write buffers for all of them make its memory a matter of the process and not of the group.
"""

import ctypes
import sys

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    Options,
    WriteBufferManager,
)

CACHE_BYTES = 8 * 1024 * 1024
"""Blocks that were read. Few are read twice: what comes again soon lies in a write buffer, and the
system's page cache holds the files, compressed."""
WRITE_BUFFERS_BYTES = 24 * 1024 * 1024
"""What is written and in no table yet, all partitions together: what has to be read from the log
of writes when the process starts again."""
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
BLOOM_BITS = 10
"""A key that was never seen is nearly always told without a look at any table: 1 % are not."""
BUFFER_BLOOM_RATIO = 0.02
"""Of a write buffer, for a filter as tables have one: it halves what looking up new keys costs."""
RUNS = 8
"""Sorted runs of tables before some are merged (universal compaction). Keys of events come in no
order, so a merge by levels writes the whole last level again; runs that are merged with others of
their size are written half as often, and take up to three times the disk that they need."""
OPEN_FILES_MAX = 128
FILE_BUFFER_BYTES = 128 * 1024
"""Of each file that is being written: every partition has a log of its own, and RocksDB's own size
of 1 MiB for each was 5 MB of a process with six."""
FORMAT_VERSION = 5


_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""


def one_heap() -> None:
    """Let all threads of the process share one heap, where glibc gives it out.

    RocksDB's threads each got one of their own and filled it now and then: with a million keys 144
    and 145 MB instead of 156 and 151, at the same CPU. They seldom ask at the same time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_ARENA_MAX, 1)


class Memory:
    """What the stores of one process share."""

    def __init__(self) -> None:
        self._cache = Cache(CACHE_BYTES)
        self._buffers = WriteBufferManager(WRITE_BUFFERS_BYTES, False)

    def options(self) -> Options:
        """How a store of this process is opened."""
        tables = BlockBasedOptions()
        tables.set_block_cache(self._cache)
        tables.set_bloom_filter(BLOOM_BITS, False)
        tables.set_format_version(FORMAT_VERSION)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(tables)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_compaction_style(DBCompactionStyle.universal())
        options.set_level_zero_file_num_compaction_trigger(RUNS)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(2)
        options.set_memtable_whole_key_filtering(True)
        options.set_memtable_prefix_bloom_ratio(BUFFER_BLOOM_RATIO)
        options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES)
        options.set_keep_log_file_num(2)
        options.set_max_open_files(OPEN_FILES_MAX)
        return options
