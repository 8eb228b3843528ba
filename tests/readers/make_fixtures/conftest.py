"""The scripts here need the frameworks; they are run by hand, never collected."""

collect_ignore_glob = ["*.py"]
