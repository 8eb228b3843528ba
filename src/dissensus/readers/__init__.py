"""Rollout logs of training frameworks, read where they lie, in the schema of a run."""
