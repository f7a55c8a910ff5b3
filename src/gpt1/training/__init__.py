"""One loop for pre-training and fine-tuning, and all that it needs."""
