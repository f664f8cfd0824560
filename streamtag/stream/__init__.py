"""The one consume-process-produce runner. Knows nothing of tagging."""
