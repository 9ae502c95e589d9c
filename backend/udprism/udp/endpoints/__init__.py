"""Endpoints: they own sockets, and begin and end flows. No endpoint knows another."""
