"""`lvmm soak`: many recordings under changing conditions, each replayed twice."""
