"""The HTTP API: what the commands do, and scoring, for other programs."""
