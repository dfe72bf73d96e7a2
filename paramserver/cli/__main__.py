"""`python -m paramserver.cli`."""

from paramserver.cli import main

main()
