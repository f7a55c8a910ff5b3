"""What a task is: kinds, transforms, metrics, data sets, and predicting."""
