"""Kafka and Redis for a developer, the tests and the demo."""
