"""How a sender is proved: a handful of schemes, composed by description, that verify and sign."""
