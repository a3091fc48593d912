"""Reads what OpenTelemetry instrumentors write, by attributes: one value for all of their conventions."""
