"""What this machine can do at most: the yardstick of the benchmarks' shares."""

from time import perf_counter

import torch


def peak() -> float:
    """Floating-point operations a second of a large float32 matrix product, best of three."""
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    times = []
    for _ in range(4):
        started = perf_counter()
        torch.mm(a, b)
        times.append(perf_counter() - started)
    return 2 * 1536**3 / min(times[1:])
