"""Pure core: thresholds, decisions, histograms. Imports numpy and itself only: no I/O, no clock."""
