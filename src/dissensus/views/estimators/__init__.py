"""What the advantage estimators are and do: for a terminal, a browser, and the documentation."""
