"""Makes training jobs true: inputs staged, one job process run to its end, the model archive put to S3."""
