"""STS: who am I, and temporary credentials. They need no record: see ``authz.session_tokens``."""
