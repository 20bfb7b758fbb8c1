"""Files on disk to tensors: readers, manifest, clip store, windows."""
