"""S3: buckets, objects, listings, multipart uploads. Modules named in ``services.registry`` hold the operations."""
