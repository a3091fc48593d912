"""Record -> better record. Before the journal: redact, limit. Before the database: messages, usage, price."""
