"""What arrives when processes are killed, forked and overrun, and backends are down, slow or refuse."""

MARK = "durability"
"""In the metadata of every run: whose it is. Runs with the same mark are of one invocation, or of one `batch()`."""
TRACES = "/v1/traces"
"""Where OTLP is posted to."""
