"""Scaling tried on paper: an arrival curve in, replicas and the age of the oldest event out."""
