"""The doctor: what a careful colleague would say of data before anyone trains on them."""
