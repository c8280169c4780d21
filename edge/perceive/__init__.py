"""Turn images, radar and the calibration into boxes and tracks."""
