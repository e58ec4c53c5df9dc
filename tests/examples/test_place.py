import boto3
import pytest

import plan
from place import Place, PlaceUnusable


def aws(region: str) -> Place:
    return Place(boto3.Session(region_name=region), local_public_url=None)


LOCAL = Place(boto3.Session(region_name="us-east-1"), local_public_url="http://127.0.0.1:8080")


def test_public_addresses_on_aws() -> None:
    assert aws("us-east-1").api_url("abc", "prod", "verdict") == (
        "https://abc.execute-api.us-east-1.amazonaws.com/prod/verdict"
    )
    assert aws("us-east-1").website_url("page") == "http://page.s3-website-us-east-1.amazonaws.com/"
    assert aws("eu-central-1").website_url("page") == "http://page.s3-website.eu-central-1.amazonaws.com/"
    assert aws("us-east-1").website_url_by_path("page") is None


def test_public_addresses_on_a_local_server() -> None:
    assert LOCAL.api_url("abc", "prod", "verdict") == "http://abc.execute-api.localhost:8080/prod/verdict"
    assert (
        LOCAL.api_url_by_path("abc", "prod", "verdict")
        == "http://127.0.0.1:8080/_aws/execute-api/abc/prod/verdict"
    )
    assert LOCAL.website_url("page") == "http://page.s3-website.localhost:8080/"
    assert LOCAL.website_url_by_path("page") == "http://127.0.0.1:8080/_aws/s3-website/page/"


def test_the_algorithm_has_its_own_account_in_every_region() -> None:
    assert (
        aws("us-east-1").xgboost_image()
        == "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    )
    assert (
        aws("cn-north-1")
        .xgboost_image()
        .endswith(".dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-xgboost:1.7-1")
    )
    with pytest.raises(PlaceUnusable, match="no known address in the region eu-isoe-west-1"):
        aws("eu-isoe-west-1").xgboost_image()


def test_other_data_or_another_image_is_another_training_job() -> None:
    digests = {plan.digest_of_training(data, image) for data in ("a", "b") for image in ("x:1", "x:2")}
    assert len(digests) == 4
