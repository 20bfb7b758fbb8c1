"""The doctor: what is wrong with data, found before anyone trains on them."""
