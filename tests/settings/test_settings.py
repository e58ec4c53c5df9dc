"""Flags win over variables, variables over the file, the file over defaults; what is wrong is named with its source."""

from pathlib import Path

import pytest

from stagedoor.settings import SettingError, load


def test_order_of_sources(tmp_path: Path) -> None:
    file = tmp_path / "stagedoor.toml"
    file.write_text('region = "eu-west-1"\naccount = "111111111111"\napi = "127.0.0.1:1"\n')
    environment = {"STAGEDOOR_ACCOUNT": "222222222222", "STAGEDOOR_API": "127.0.0.1:2"}
    settings = load({"api": "127.0.0.1:3", "public": None}, environment, file)
    assert (settings.region, settings.account, settings.api) == ("eu-west-1", "222222222222", "127.0.0.1:3")
    assert settings.public == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({"account": "12"}, {}, "account = '12'"),
        ({"engine": "ray"}, {}, "engine = 'ray'"),
        ({"api": "4566"}, {}, "api = '4566'"),
        ({"public": "127.0.0.1:99999"}, {}, "public = '127.0.0.1:99999'"),
        ({}, {"STAGEDOOR_INVOKE_TIMEOUT_S": "soon"}, "STAGEDOOR_INVOKE_TIMEOUT_S"),
        ({}, {"STAGEDOOR_DESCRIBE_HOLD_S": "21"}, "describe_hold_s = 21.0 is too long"),
        ({}, {"STAGEDOOR_ROOT_ACCESS_KEY_ID": "AKIA"}, "root_secret_access_key"),
        ({}, {"STAGEDOOR_FUNCTION_RETRY_DELAYS_S": "1,x"}, "function_retry_delays_s"),
    ],
)
def test_a_wrong_value_is_named(flags: dict[str, str], environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        load(flags, environment)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "stagedoor.toml"
    file.write_text("regoin = 1\n")
    with pytest.raises(SettingError, match="regoin"):
        load({}, {}, file)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("STAGEDOOR_ISOLATON", "did you mean STAGEDOOR_ISOLATION?"),
        ("STAGEDOOR_XYZZY", "docs/settings.md"),
        ("STAGEDOOR_isolation", "did you mean STAGEDOOR_ISOLATION?"),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_one_named(variable: str, hint: str) -> None:
    with pytest.raises(SettingError) as raised:
        load({}, {variable: "strict"})
    assert variable in str(raised.value)
    assert hint in str(raised.value)


@pytest.mark.parametrize(
    "variable",
    [
        "STAGEDOOR_SERVICE_HOST",
        "STAGEDOOR_SERVICE_PORT_API",
        "STAGEDOOR_PORT",
        "STAGEDOOR_PORT_4566_TCP_ADDR",
        "STAGEDOOR_CHROMIUM",
    ],
)
def test_variables_that_others_make_of_the_name_stop_nobody(variable: str) -> None:
    """Kubernetes and container links name variables after a service that is called stagedoor."""
    load({}, {variable: "tcp://10.0.0.1:4566"})
