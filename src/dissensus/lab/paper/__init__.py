"""The tables and figures of arXiv:2607.00152, recomputed: what ``dissensus paper`` runs."""
