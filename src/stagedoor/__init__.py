"""stagedoor: from a trained model to a public web app, the SageMaker way, on your own machines.

This file stays empty of imports: worker processes import ``stagedoor.worker`` and must not pay for the server.
"""

__version__ = "0.1.0"
