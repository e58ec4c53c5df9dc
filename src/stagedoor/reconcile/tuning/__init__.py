"""Makes hyperparameter tuning jobs true: one training job after the other, until their limits or their aim are reached."""
