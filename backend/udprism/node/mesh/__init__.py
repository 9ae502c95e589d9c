"""Other nodes over NATS: who is there, what they show, and changes made on them. Imported only with `--nats`."""
