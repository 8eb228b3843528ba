"""verl: the rules of the catalogue as its advantage estimators, and every batch as a run."""
