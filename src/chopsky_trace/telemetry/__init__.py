"""OpenTelemetry's spans and log records, as they were journaled, -> records."""
