"""`dissensus bench`: estimators and allocators compared in live training at equal rollouts."""
