"""Files that lie: every reader and decoder against thousands of mutated files a format.

``python -m tests.data.fuzz FORMAT --from N --count K`` replays any case by its number.
"""
