"""`python -m meiju_utils` is `meiju`."""

from meiju_utils.cli import main

if __name__ == "__main__":  # not where a process of a pool imports this
    main()
