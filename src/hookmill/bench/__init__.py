"""What a part costs, measured next to its bare floor in the same run."""
