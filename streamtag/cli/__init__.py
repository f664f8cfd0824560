"""The streamtag command."""
