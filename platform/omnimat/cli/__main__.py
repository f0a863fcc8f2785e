"""Lets ``python -m omnimat.cli`` and torchrun start the command line."""

from omnimat.cli.main import main

main()
