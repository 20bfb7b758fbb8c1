"""Public weights: VideoMAE and Echo-Vision-FM checkpoints read, checked, and made ours."""
