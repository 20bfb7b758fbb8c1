"""What learning across institutions is worth, on SYNTHETIC hospitals: plans, and who judges them.

``__main__`` is the command, ``recipe.toml`` says who trains what.
"""
