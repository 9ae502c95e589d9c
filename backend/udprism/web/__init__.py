"""HTTP and websockets: the only place that knows FastAPI."""
