"""How good a bundle is on labelled documents, and which cut-offs reach a goal on them."""
