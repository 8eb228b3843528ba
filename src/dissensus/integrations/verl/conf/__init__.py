"""Hydra configuration for verl, found by `hydra_plugins.dissensus_fragments`."""
