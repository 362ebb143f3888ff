"""Does a simulated user say yes to what the real one took? Cases, negatives, decisions by a threshold, and who decides."""
