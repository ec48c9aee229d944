"""The words everything else is said in: pure, synchronous, standard library and msgspec only."""
