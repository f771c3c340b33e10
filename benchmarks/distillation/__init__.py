"""What the trainer makes of real text: quality, speed and ablations, beside other ways to train on the same rows."""
