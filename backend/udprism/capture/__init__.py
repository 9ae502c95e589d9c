"""Recordings: capture files ↔ columns. Pure: a file is a buffer here, and what is written is bytes."""
