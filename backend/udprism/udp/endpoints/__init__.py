"""What owns sockets and begins and ends flows: each a module, none of which knows another."""
