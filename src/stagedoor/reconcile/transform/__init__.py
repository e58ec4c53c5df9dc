"""Makes batch transform jobs true: a model worker for the job, its input objects through it, outputs back to S3."""
