"""Seeded simulations of experiments: what verdicts get wrong by chance, and how long they take.

They run on the tables and functions of `streamtag.domain` that decide, over many experiments at once.
"""
