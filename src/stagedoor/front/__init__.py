"""The signed listener: socket -> authenticate -> route -> parse -> authorise -> operation -> serialise."""
