"""A round on several devices of one machine: each takes its rows of every batch.

All devices make all random draws of a batch, and gradients are summed, not averaged: a batch's
loss is already divided by the labels of the whole batch. So the result is that of one device, up
to the rounding of sums.
"""
