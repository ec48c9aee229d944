"""The proof: real processes and brokers, faults from a seed, and a check of the whole history."""
