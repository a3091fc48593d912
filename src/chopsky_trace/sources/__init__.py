"""The outside world, turned into records. A source gets a `put` and knows nothing of the database."""
