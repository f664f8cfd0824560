"""Statistics from commit summaries: panes, the loss ledger and its audit. See docs/architecture.md."""
