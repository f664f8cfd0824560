"""streamtag: real-time multilabel tagging on Kafka, with thresholds an operator can change live."""

__version__ = "0.1.0"
