"""An experiment -> its best configuration, by Ray Tune."""
