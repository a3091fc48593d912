"""OpenTelemetry spans and log records -> records."""
