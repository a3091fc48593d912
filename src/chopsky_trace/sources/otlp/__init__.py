"""OTLP request bodies -> native spans and log records, and what is answered."""
