"""One institution by itself: the federation's local rounds, one after the other, without a server.

It calls the very functions that a site of a federation calls, with the same plans.
"""
