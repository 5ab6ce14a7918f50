"""What a run took, told after it: energy by GPU, by phase and over time, and its emissions."""
