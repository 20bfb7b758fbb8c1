"""One file a public data set; the contract is in ``_api.py``."""
