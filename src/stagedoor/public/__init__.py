"""The public listener: match stage and route -> build event -> integration -> answer; and S3 websites. Nothing else."""
