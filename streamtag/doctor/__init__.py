"""Looks over a set-up and says what to do: the checks behind ``streamtag doctor``."""
