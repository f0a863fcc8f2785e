"""Checks of the files in ``infra`` that need no cluster and no cloud."""
