"""What `end_to_end/test_how_to_add.py` adds to a copy of the program, by the lists of ARCHITECTURE.md."""
