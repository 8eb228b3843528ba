"""Hydra configuration for verl: hydra.searchpath=[pkg://dissensus.integrations.verl.conf]."""
