"""Makes processing jobs true: inputs staged, the container's command run on each instance, outputs put to S3."""
