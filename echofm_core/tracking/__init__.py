"""A run's rounds in TensorBoard or MLflow, beside the run folder's own ledger.

The ledger is what counts. A tracker is shown its finished rounds, skips those that it has, and may
fail: the run goes on without it. Reading order: ``_api``, ``listener``, then one file a tracker.
"""
