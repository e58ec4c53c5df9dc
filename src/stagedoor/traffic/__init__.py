"""The short path of an invocation: routing tables in memory, admission, channels to workers. No database."""
