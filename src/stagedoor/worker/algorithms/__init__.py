"""Built-in algorithms: what stands behind AWS's own image URIs. One module trains, one serves, the rest reads and writes rows."""
