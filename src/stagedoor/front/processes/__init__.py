"""Front processes: they answer invocations on the signed listener beside the control process, which keeps each one's table fresh.

``process`` is what runs in them, ``control`` is the control process's side of it; ``messages`` is what the two say to each other.
"""
