"""Input nobody meant: a corpus that the tests replay, and harnesses that look for more of it."""
