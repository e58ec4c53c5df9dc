"""How an algorithm says why it cannot train or load: the user's mistake or its own.

Place in the flow: raised anywhere in an algorithm's training; ``worker.job_runner`` writes the text to ``output/failure``,
where ``reconcile.training`` finds it and makes it the job's FailureReason.
"""


class ClientError(Exception):
    """Something the user can put right: a hyperparameter, a channel, the data. Becomes ``ClientError: …``."""


class AlgorithmError(Exception):
    """Training itself went wrong. Becomes ``AlgorithmError: …``."""


class ModelFileError(Exception):
    """An archive holds no model that this algorithm can load; the text is fit for an endpoint's FailureReason."""
