"""Pure core: no socket, thread, clock, log or global randomness. Time comes in as an argument."""
