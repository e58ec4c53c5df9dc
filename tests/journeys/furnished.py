"""A server with one of everything on it, so that requests get beyond "there is no such thing"."""

from typing import Any

from journeys.deployed import INVOKE, Deployed
from journeys.operations import Operation
from services.identities import document

from stagedoor.testing import Server


class Furnished:
    """``real`` holds, for each service, the members whose values name things that exist."""

    def __init__(self, server: Server) -> None:
        self.server = server
        name, account = "one", server.account_id
        app = Deployed(server, name).bucket().model().endpoint().function(INVOKE).rest_api().website()
        iam, s3, functions = server.client("iam"), server.client("s3"), server.client("lambda")
        apis, logs = server.client("apigateway"), server.client("logs")
        iam.create_user(UserName=name)
        policy = iam.create_policy(PolicyName=name, PolicyDocument=document({"Action": "s3:*"}))["Policy"][
            "Arn"
        ]
        iam.attach_user_policy(UserName=name, PolicyArn=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
        upload = s3.create_multipart_upload(Bucket=name, Key="big")["UploadId"]
        functions.publish_version(FunctionName=name)
        functions.create_alias(FunctionName=name, Name=name, FunctionVersion="1")
        paths = {item["path"]: item["id"] for item in apis.get_resources(restApiId=app.api_id)["items"]}
        deployment = apis.get_deployments(restApiId=app.api_id)["items"][0]["id"]
        logs.create_log_group(logGroupName=name)
        logs.create_log_stream(logGroupName=name, logStreamName=name)
        role = f"arn:aws:iam::{account}:role/{name}-model"
        self.real: dict[str, dict[str, Any]] = {
            "s3": {
                "Bucket": name,
                "Key": "model.tar.gz",
                "UploadId": upload,
                "CopySource": f"{name}/model.tar.gz",
            },
            "iam": {
                "RoleName": f"{name}-model",
                "UserName": name,
                "PolicyArn": policy,
                "AccessKeyId": key,
                "VersionId": "v1",
                "PolicySourceArn": role,
            },
            "sts": {"RoleArn": role},
            "lambda": {
                "FunctionName": name,
                "Name": name,
                "FunctionVersion": "1",
                "Resource": f"arn:aws:lambda:us-east-1:{account}:function:{name}",
                "Role": f"arn:aws:iam::{account}:role/{name}-role",
            },
            "apigateway": {
                "restApiId": app.api_id,
                "resourceId": paths["/score"],
                "parentId": paths["/"],
                "httpMethod": "POST",
                "deploymentId": deployment,
                "stageName": "prod",
                "statusCode": "200",
                "resourceArn": f"arn:aws:apigateway:us-east-1::/restapis/{app.api_id}",
            },
            "logs": {
                "logGroupName": name,
                "logStreamName": name,
                "resourceArn": f"arn:aws:logs:us-east-1:{account}:log-group:{name}",
            },
            "sagemaker": {
                "ModelName": name,
                "EndpointConfigName": name,
                "EndpointName": name,
                "ExecutionRoleArn": role,
                "RoleArn": role,
                "ResourceArn": f"arn:aws:sagemaker:us-east-1:{account}:endpoint/{name}",
            },
            "sagemaker-runtime": {"EndpointName": name},
        }

    def with_real_names(self, operation: Operation, parameters: dict[str, Any]) -> dict[str, Any]:
        """The same parameters, those that name something naming what exists."""
        real = self.real.get(operation.service, {})
        return parameters | {name: real[name] for name in parameters if name in real}
