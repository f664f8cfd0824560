"""Bundles, preprocessing and scoring."""
