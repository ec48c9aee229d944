"""The ledger: double-entry books that count each event once, on SQLite or PostgreSQL."""
