"""A package, so that what its fixtures start ends with it: see conftest."""
