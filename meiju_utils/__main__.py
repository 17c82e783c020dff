"""`python -m meiju_utils` is `meiju`."""

from meiju_utils.cli import main

main()
