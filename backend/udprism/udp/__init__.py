"""Sockets and threads; decides nothing about the protocol."""
