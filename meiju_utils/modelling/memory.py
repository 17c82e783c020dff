"""What becomes of the memory that one training step frees. Imports nothing."""

import ctypes

# Of glibc's mallopt: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and the most it takes for the latter.
KEEP, PIECES, LARGEST = -1, -3, 32 << 20


def keep_freed_memory() -> None:
    """Let this process keep what a step frees for the next; without glibc this does nothing.

    Large tensors would else go back to the system and come anew, page by page, filled with zeros.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
    mallopt(KEEP, 1 << 30)
    mallopt(PIECES, LARGEST)
