"""Preprocessing contracts: from documents to the named inputs of a graph, the same code in training and serving."""
