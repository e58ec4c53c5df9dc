"""Lambda: functions, versions, aliases, permissions and invocations."""
