"""What every notebook for SageMaker begins with. Run by ``test_aws_names.py`` in the SDK's own environment."""

import json

import boto3
import sagemaker

session = sagemaker.Session()
bucket = session.default_bucket()
session.upload_string_as_file_body("hello", bucket, "greeting.txt")
print(
    "RESULT "
    + json.dumps(
        {
            "role": sagemaker.get_execution_role(),
            "bucket": bucket,
            "greeting": session.read_s3_file(bucket, "greeting.txt"),
            "endpoint": boto3.client("sts").meta.endpoint_url,
        }
    )
)
