"""Faults and attacks, one after the other, against the program as it runs: `python -m tests.torture`."""
