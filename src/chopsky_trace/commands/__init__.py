"""The commands of chopsky-trace: what each does, and how it is shown."""
