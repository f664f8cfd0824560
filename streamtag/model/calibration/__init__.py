"""Recalibration of a bundle on recent truth: what is fitted, how it is judged, and the graph that does it."""
