"""Tells glibc's allocator to keep the memory that tensors free."""

import ctypes
import functools

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_BYTES = 1 << 30


@functools.cache
def keep_freed_memory() -> None:
    """Let this process reuse large blocks of memory instead of handing them back and asking for new ones.

    A pass of a network takes and frees megabytes for every layer. By default each such block is mapped anew and its
    pages are filled with zeros one by one, which cost up to a third of a pass's time. No answer depends on it. Where
    the C library is not glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _BYTES)
    mallopt(_M_MMAP_THRESHOLD, _BYTES)
