"""LeRobotDataset v3.0 on disk: staging, assembling, reading, validating."""
