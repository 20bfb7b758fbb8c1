"""A study: protocols x methods x seeds in one folder, each training of them once."""
