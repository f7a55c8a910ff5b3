"""The architecture: imports torch, config and errors, nothing else of ours."""
