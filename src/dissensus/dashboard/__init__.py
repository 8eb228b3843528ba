"""The live web page over runs: disagreement while it happens."""
