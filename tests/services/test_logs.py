from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.lambda_house import ACCOUNT, REGION, LambdaHouse

from stagedoor.domain.clock import ManualClock
from stagedoor.domain.errors import AwsError
from stagedoor.store.log_events import DAY_MS

NOW_S = 1_700_000_000.0
NOW = int(NOW_S * 1000)
ARN = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[LambdaHouse]:
    house = LambdaHouse(tmp_path / "house", clock=ManualClock(NOW_S))
    house.tell("logs", "CreateLogGroup", logGroupName="/g")
    yield house
    house.close_stores()


def tell(house: LambdaHouse, operation: str, **request: Any) -> dict[str, Any]:
    return house.tell("logs", operation, **request)


def refused(house: LambdaHouse, operation: str, **request: Any) -> AwsError:
    with pytest.raises(AwsError) as raised:
        tell(house, operation, **request)
    return raised.value


def put(house: LambdaHouse, *messages: str, stream: str = "s", start: int = NOW - 1000) -> None:
    group = house.log_events.group(ACCOUNT, REGION, "/g")
    assert group is not None
    if house.log_events.stream(group.id, stream) is None:
        tell(house, "CreateLogStream", logGroupName="/g", logStreamName=stream)
    events = [{"timestamp": start + index, "message": message} for index, message in enumerate(messages)]
    tell(house, "PutLogEvents", logGroupName="/g", logStreamName=stream, logEvents=events)


def get(house: LambdaHouse, **request: Any) -> tuple[list[str], str, str]:
    found = tell(house, "GetLogEvents", logGroupName="/g", logStreamName="s", **request)
    messages = [event["message"] for event in found["events"]]
    return messages, found["nextForwardToken"], found["nextBackwardToken"]


def found(house: LambdaHouse, pattern: str = "", **request: Any) -> list[str]:
    answer = tell(house, "FilterLogEvents", logGroupName="/g", filterPattern=pattern, **request)
    assert "nextToken" not in answer
    return [event["message"] for event in answer["events"]]


# Groups ----------------------------------------------------------------------------------------------------------


def test_a_group_is_made_once_described_and_removed(house: LambdaHouse) -> None:
    error = refused(house, "CreateLogGroup", logGroupName="/g")
    assert (error.code, error.message) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    (described,) = tell(house, "DescribeLogGroups")["logGroups"]
    assert described == {
        "logGroupName": "/g",
        "creationTime": NOW,
        "metricFilterCount": 0,
        "arn": f"{ARN}:*",
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "logGroupArn": ARN,
        "deletionProtectionEnabled": False,
    }
    tell(house, "DeleteLogGroup", logGroupName="/g")
    assert tell(house, "DescribeLogGroups") == {"logGroups": []}
    error = refused(house, "DeleteLogGroup", logGroupName="/g")
    assert error.code == "ResourceNotFoundException"
    assert error.message == "The specified log group does not exist."


def test_groups_are_found_by_prefix_part_and_identifier_in_pages(house: LambdaHouse) -> None:
    for name in ("/aws/lambda/a", "/aws/lambda/b", "/aws/sagemaker/Endpoints/a"):
        tell(house, "CreateLogGroup", logGroupName=name)

    def names(**request: Any) -> list[str]:
        return [group["logGroupName"] for group in tell(house, "DescribeLogGroups", **request)["logGroups"]]

    assert names(logGroupNamePrefix="/aws/lambda/") == ["/aws/lambda/a", "/aws/lambda/b"]
    assert names(logGroupNamePattern="/a") == ["/aws/lambda/a", "/aws/lambda/b", "/aws/sagemaker/Endpoints/a"]
    assert names(logGroupIdentifiers=[ARN, "/aws/lambda/b", "/none"]) == ["/aws/lambda/b", "/g"]
    first = tell(house, "DescribeLogGroups", limit=3)
    assert names(nextToken=first["nextToken"]) == ["/g"]
    assert refused(house, "DescribeLogGroups", nextToken="x").code == "InvalidParameterException"
    both = {"logGroupNamePrefix": "a", "logGroupNamePattern": "b"}
    assert "mutually exclusive" in refused(house, "DescribeLogGroups", **both).message


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("kmsKeyId", "arn:aws:kms:us-east-1:000000000000:key/x"),
        ("logGroupClass", "INFREQUENT_ACCESS"),
        ("deletionProtectionEnabled", True),
    ],
)
def test_what_a_group_cannot_be_is_refused_by_name(house: LambdaHouse, member: str, value: Any) -> None:
    error = refused(house, "CreateLogGroup", logGroupName="/other", **{member: value})
    assert error.code == "InvalidParameterException"
    assert member in error.message
    assert len(tell(house, "DescribeLogGroups")["logGroups"]) == 1


def test_retention_hides_what_is_older(house: LambdaHouse) -> None:
    put(house, "old", start=NOW - 3 * DAY_MS)
    put(house, "new")
    tell(house, "PutRetentionPolicy", logGroupName="/g", retentionInDays=1)
    assert tell(house, "DescribeLogGroups")["logGroups"][0]["retentionInDays"] == 1
    assert found(house) == ["new"]
    tell(house, "DeleteRetentionPolicy", logGroupName="/g")
    assert "retentionInDays" not in tell(house, "DescribeLogGroups")["logGroups"][0]
    assert found(house) == ["old", "new"]
    error = refused(house, "PutRetentionPolicy", logGroupName="/g", retentionInDays=2)
    assert (error.code, "2" in error.message) == ("InvalidParameterException", True)


def test_groups_have_tags_by_name_and_by_arn(house: LambdaHouse) -> None:
    tell(house, "TagLogGroup", logGroupName="/g", tags={"a": "1", "b": "2"})
    tell(house, "TagResource", resourceArn=f"{ARN}:*", tags={"b": "3"})
    assert tell(house, "ListTagsForResource", resourceArn=ARN) == {"tags": {"a": "1", "b": "3"}}
    tell(house, "UntagResource", resourceArn=ARN, tagKeys=["a"])
    tell(house, "UntagLogGroup", logGroupName="/g", tags=["none"])
    assert tell(house, "ListTagsLogGroup", logGroupName="/g") == {"tags": {"b": "3"}}
    for arn in ("x", ARN.replace(ACCOUNT, "111111111111"), ARN.replace("logs", "sqs")):
        assert refused(house, "ListTagsForResource", resourceArn=arn).code == "InvalidParameterException"
    too_many = {str(number): "" for number in range(50)}
    assert "50 tags" in refused(house, "TagLogGroup", logGroupName="/g", tags=too_many).message


# Streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_is_made_once_described_and_removed(house: LambdaHouse) -> None:
    tell(house, "CreateLogStream", logGroupName="/g", logStreamName="s")
    error = refused(house, "CreateLogStream", logGroupName="/g", logStreamName="s")
    assert (error.code, error.message) == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )
    (empty,) = tell(house, "DescribeLogStreams", logGroupName="/g")["logStreams"]
    assert {"firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"}.isdisjoint(empty)
    put(house, "a", "bc")
    (described,) = tell(house, "DescribeLogStreams", logGroupName="/g")["logStreams"]
    assert described.pop("uploadSequenceToken")
    assert described == {
        "logStreamName": "s",
        "creationTime": NOW,
        "firstEventTimestamp": NOW - 1000,
        "lastEventTimestamp": NOW - 999,
        "lastIngestionTime": NOW,
        "arn": f"{ARN}:log-stream:s",
        "storedBytes": 3,
    }
    tell(house, "DeleteLogStream", logGroupName="/g", logStreamName="s")
    error = refused(house, "DeleteLogStream", logGroupName="/g", logStreamName="s")
    assert error.code == "ResourceNotFoundException"
    assert error.message == "The specified log stream does not exist."


def test_streams_are_listed_by_name_or_last_event_in_pages(house: LambdaHouse) -> None:
    for name, start in (("job/algo-1", NOW), ("job/algo-2", NOW - 500), ("other", NOW - 100)):
        put(house, "x", stream=name, start=start)

    def names(**request: Any) -> list[str]:
        listed: list[str] = []
        while True:
            page = tell(house, "DescribeLogStreams", logGroupName="/g", limit=1, **request)
            listed += [stream["logStreamName"] for stream in page["logStreams"]]
            if "nextToken" not in page:
                return listed
            request["nextToken"] = page["nextToken"]

    assert names() == ["job/algo-1", "job/algo-2", "other"]
    assert names(logStreamNamePrefix="job/", descending=True) == ["job/algo-2", "job/algo-1"]
    assert names(orderBy="LastEventTime") == ["job/algo-2", "other", "job/algo-1"]
    assert names(orderBy="LastEventTime", descending=True) == ["job/algo-1", "other", "job/algo-2"]
    assert names(orderBy="LogStreamName", logStreamNamePrefix="job/") == ["job/algo-1", "job/algo-2"]
    error = refused(
        house, "DescribeLogStreams", logGroupName="/g", orderBy="LastEventTime", logStreamNamePrefix="j"
    )
    assert error.message == "Cannot order by LastEventTime with a logStreamNamePrefix."


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("DescribeLogStreams", {}),
        ("GetLogEvents", {"logStreamName": "s"}),
        ("FilterLogEvents", {}),
        ("CreateLogStream", {"logStreamName": "s"}),
        ("PutLogEvents", {"logStreamName": "s", "logEvents": [{"timestamp": NOW, "message": "x"}]}),
        ("PutRetentionPolicy", {"retentionInDays": 1}),
        ("TagLogGroup", {"tags": {"a": "b"}}),
    ],
)
def test_a_group_that_is_not_there_is_not_found(
    house: LambdaHouse, operation: str, request_: dict[str, Any]
) -> None:
    error = refused(house, operation, logGroupName="/none", **request_)
    assert error.code == "ResourceNotFoundException"
    assert error.message == "The specified log group does not exist."


def test_a_group_is_meant_by_name_or_identifier_and_not_by_both(house: LambdaHouse) -> None:
    put(house, "x")
    for identifier in ("/g", ARN):
        answer = tell(house, "GetLogEvents", logGroupIdentifier=identifier, logStreamName="s")
        assert len(answer["events"]) == 1
    both = {"logGroupName": "/g", "logGroupIdentifier": "/g"}
    assert "mutually exclusive" in refused(house, "DescribeLogStreams", **both).message
    assert "must be given" in refused(house, "DescribeLogStreams").message


# Putting ---------------------------------------------------------------------------------------------------------


def attempt(house: LambdaHouse, *events: tuple[int, str]) -> dict[str, Any]:
    batch = [{"timestamp": timestamp, "message": message} for timestamp, message in events]
    return tell(house, "PutLogEvents", logGroupName="/g", logStreamName="s", logEvents=batch)


def test_events_too_old_or_too_new_are_reported_and_the_others_kept(house: LambdaHouse) -> None:
    tell(house, "CreateLogStream", logGroupName="/g", logStreamName="s")
    tell(house, "PutRetentionPolicy", logGroupName="/g", retentionInDays=7)
    answer = attempt(
        house,
        (NOW - 15 * DAY_MS, "too old"),
        (NOW - 8 * DAY_MS, "expired"),
        (NOW - 1, "kept"),
        (NOW + 3 * 3_600_000, "too new"),
    )
    assert answer["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 1,
        "expiredLogEventEndIndex": 2,
        "tooNewLogEventStartIndex": 3,
    }
    assert answer["nextSequenceToken"]
    assert found(house) == ["kept"]
    assert "rejectedLogEventsInfo" not in attempt(house, (NOW, "all fine"))


def test_a_batch_that_breaks_a_rule_is_refused_as_a_whole(house: LambdaHouse) -> None:
    tell(house, "CreateLogStream", logGroupName="/g", logStreamName="s")
    for events, said in (
        ([(NOW, "b"), (NOW - 1, "a")], "must be in chronological order"),
        ([(NOW - 2 * DAY_MS, "a"), (NOW, "b")], "cannot span more than 24 hours"),
        ([(NOW, "x" * 1_048_576)], "Log event too large: 1048602 bytes exceeds limit of 1048576"),
        ([(NOW, "x" * 600_000)] * 2, "Upload too large: 1200052 bytes exceeds limit of 1048576"),
    ):
        with pytest.raises(AwsError, match=said) as raised:
            attempt(house, *events)
        assert raised.value.code == "InvalidParameterException"
    assert found(house) == []


def test_an_entity_is_refused_by_name(house: LambdaHouse) -> None:
    put(house, "x")
    events = [{"timestamp": NOW, "message": "x"}]
    entity = {"keyAttributes": {"Type": "Service"}}
    request = {"logGroupName": "/g", "logStreamName": "s", "logEvents": events, "entity": entity}
    assert "entity" in refused(house, "PutLogEvents", **request).message


# Getting ---------------------------------------------------------------------------------------------------------


def test_reading_from_the_head_ends_with_the_same_token(house: LambdaHouse) -> None:
    put(house, *(str(number) for number in range(5)))
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        messages, forward, _ = get(house, startFromHead=True, limit=2, **token)
        seen += messages
        if token.get("nextToken") == forward:
            break
        token = {"nextToken": forward}
    assert seen == ["0", "1", "2", "3", "4"]
    assert messages == []
    put(house, "later", start=NOW)
    assert get(house, startFromHead=True, **token)[0] == ["later"]


def test_reading_without_a_start_gives_the_latest_and_goes_back(house: LambdaHouse) -> None:
    put(house, *(str(number) for number in range(5)))
    messages, forward, backward = get(house, limit=2)
    assert messages == ["3", "4"]
    assert get(house, nextToken=forward)[0] == []
    messages, _, backward = get(house, nextToken=backward, limit=2)
    assert messages == ["1", "2"]
    messages, forward, backward = get(house, nextToken=backward, limit=2)
    assert messages == ["0"]
    assert get(house, nextToken=backward) == ([], backward.replace("b/", "f/"), backward)
    assert get(house, nextToken=forward, startFromHead=True)[0] == ["1", "2", "3", "4"]


def test_an_empty_stream_has_tokens_that_find_what_comes_first(house: LambdaHouse) -> None:
    tell(house, "CreateLogStream", logGroupName="/g", logStreamName="s")
    messages, forward, _ = get(house)
    assert messages == []
    put(house, "first")
    assert get(house, nextToken=forward)[0] == ["first"]


def test_a_time_range_includes_its_start_and_excludes_its_end(house: LambdaHouse) -> None:
    put(house, "0", "1", "2", "3", start=NOW - 10)
    assert get(house, startTime=NOW - 9, endTime=NOW - 7)[0] == ["1", "2"]
    assert get(house, startFromHead=True, startTime=NOW - 9, endTime=2**63)[0] == ["1", "2", "3"]
    assert (
        "start time"
        in refused(
            house, "GetLogEvents", logGroupName="/g", logStreamName="s", startTime=2, endTime=1
        ).message
    )


@pytest.mark.parametrize("token", ["x", "f/1/s", f"f/{'9' * 56}/s", "b/" + "0" * 55 + "/s"])
def test_a_token_that_was_never_answered_is_refused(house: LambdaHouse, token: str) -> None:
    put(house, "x")
    error = refused(house, "GetLogEvents", logGroupName="/g", logStreamName="s", nextToken=token)
    assert (error.code, error.message) == ("InvalidParameterException", "The specified nextToken is invalid.")


def test_a_page_holds_about_a_megabyte(house: LambdaHouse) -> None:
    for number in range(3):
        put(house, *(["x" * 300_000] * 3), start=NOW + number)
    assert len(get(house, startFromHead=True)[0]) == 3


# Filtering -------------------------------------------------------------------------------------------------------


def test_filtering_merges_streams_by_time_and_says_where_events_come_from(house: LambdaHouse) -> None:
    put(house, "a1", stream="a", start=NOW)
    put(house, "b1", stream="b", start=NOW - 5)
    answer = tell(house, "FilterLogEvents", logGroupName="/g")
    assert [(event["logStreamName"], event["message"]) for event in answer["events"]] == [
        ("b", "b1"),
        ("a", "a1"),
    ]
    ids = [event["eventId"] for event in answer["events"]]
    assert ids == sorted(ids)
    assert {len(event_id) for event_id in ids} == {56}
    assert {event["ingestionTime"] for event in answer["events"]} == {NOW}
    assert found(house, logStreamNames=["a"]) == ["a1"]
    assert found(house, logStreamNamePrefix="b") == ["b1"]
    assert found(house, logStreamNamePrefix="none") == []
    assert found(house, startTime=NOW - 5, endTime=NOW - 5) == ["b1"], "the end is included here"
    assert found(house, startFromHead=False) == ["a1", "b1"]
    error = refused(house, "FilterLogEvents", logGroupName="/g", logStreamNames=["none"])
    assert error.message == "The specified log stream does not exist."
    both = {"logStreamNames": ["a"], "logStreamNamePrefix": "a"}
    assert "together" in refused(house, "FilterLogEvents", logGroupName="/g", **both).message


@pytest.mark.parametrize("head", [True, False])
def test_filtering_pages_through_everything_once(house: LambdaHouse, head: bool) -> None:
    put(house, *(f"{'yes' if number % 3 else 'no'} {number}" for number in range(50)))
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = tell(
            house,
            "FilterLogEvents",
            logGroupName="/g",
            filterPattern="yes",
            limit=7,
            startFromHead=head,
            **token,
        )
        seen += [event["message"] for event in page["events"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    expected = [f"yes {number}" for number in range(50) if number % 3]
    assert seen == (expected if head else expected[::-1])


MESSAGES = [
    "ERROR disk full",
    "WARN disk nearly full",
    "INFO all fine",
    '{"level": "ERROR", "code": 500, "user": {"name": "ann", "tags": ["a", "b"]}, "ok": false}',
    '{"level": "INFO", "code": 200, "user": {"name": "bob", "tags": []}, "ok": true, "note": null}',
    "{not json",
]


@pytest.mark.parametrize(
    ("pattern", "indexes"),
    [
        ("", range(6)),
        ("disk", [0, 1]),
        ("disk nearly", [1]),
        ('"disk full"', [0]),
        ("?WARN ?INFO", [1, 2, 4]),
        ("-disk -level", [2, 5]),
        ("disk -WARN", [0]),
        ("disk ?INFO", [0, 1]),
        ('-"{"', [0, 1, 2]),
        ("error", []),
        ('{ $.level = "ERROR" }', [3]),
        ("{ $.level = ERR* }", [3]),
        ('{ $.level != "ERROR" }', [4]),
        ("{ $.code >= 300 }", [3]),
        ("{ $.code = 200 }", [4]),
        ("{ $.code = 2e2 && $.ok IS TRUE }", [4]),
        ("{ $.ok IS FALSE }", [3]),
        ("{ $.note IS NULL }", [4]),
        ("{ $.note NOT EXISTS }", [3]),
        ('{ $.user.name = "b*" || $.code = 500 }', [3, 4]),
        ('{ ($.level = "INFO" || $.code = 500) && $.ok IS FALSE }', [3]),
        ('{ $.user.tags[1] = "b" }', [3]),
        ('{ $.user.tags[*] = "a" }', [3]),
        ("{ $['user']['name'] = bob }", [4]),
        ('{ $.user.name = "[ab]*" }', []),
        ("{ $.user.name = %^b.b$% }", [4]),
        ("{ $.level != %^[DI]% }", [3]),
    ],
)
def test_patterns_choose_events(house: LambdaHouse, pattern: str, indexes: list[int]) -> None:
    put(house, *MESSAGES)
    assert found(house, pattern) == [MESSAGES[index] for index in indexes]


LINES = [
    '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534',
    '10.0.0.7 - Ann [10/Oct/2000:13:35:22 -0700] "POST /about/us/?a=1 HTTP/1.0" 500 80',
    '127.0.0.1 - frank [10/Oct/2000:13:50:35 -0700] "GET /products/index.htm HTTP/1.0" 200 x',
    "ERROR 401 UNAUTHORIZED REQUEST",
    "ERROR",
]


@pytest.mark.parametrize(
    ("pattern", "indexes"),
    [
        ("[ip, id, user, time, request, status, bytes]", [0, 1, 2]),
        ("[ip, id, user, time, request, status = 4*, bytes]", [0]),
        ("[ip, id, user, time, request = *html*, status = 4*, bytes]", [0]),
        ("[ip, id, user, time, request, status = 404 || status = 500, bytes]", [0, 1]),
        ("[ip, id, user, time, request, status != 2* && status != 5*, bytes]", [0]),
        ("[ip, id, user, time, request, (status = 404 || status = 500) && status >= 500, bytes]", [1]),
        ("[..., bytes > 100]", [0]),
        ("[..., status = %^[45]%, bytes]", [0, 1]),
        ("[ip = 127.0.0.1, ...]", [0, 2]),
        ("[ip, ..., status=500, bytes]", [1]),
        ('[,, user = "Ann", ...]', [1]),
        ('[a, b, c, time = "10/Oct/2000:13:25:15 -0700", ...]', [0]),
        ("[w1=ERROR, w2]", [3]),
        ('[w1=ERROR, w2 = "401 UNAUTHORIZED REQUEST"]', [3]),
        ("[w1=ERROR]", [4]),
        ("[...]", [0, 1, 2, 3, 4]),
        ("[w1 = ERR*]", [3, 4]),
    ],
)
def test_patterns_of_fields_choose_events(house: LambdaHouse, pattern: str, indexes: list[int]) -> None:
    put(house, *LINES)
    assert found(house, pattern) == [LINES[index] for index in indexes]


def test_the_pattern_aws_uses_for_the_logs_of_functions_takes_the_whole_line(house: LambdaHouse) -> None:
    line = "2026-01-01T00:00:00.000Z 4bf4f6e8-0000-4000-8000-5d4c5a1f7f0e Task timed out after 3.00 seconds"
    put(house, line, "START RequestId: 4bf4f6e8-0000-4000-8000-5d4c5a1f7f0e Version: $LATEST")
    assert found(house, '[timestamp=*Z, request_id="*-*", event]') == [line]


@pytest.mark.parametrize(
    ("expression", "indexes"),
    [
        (r"%\d{1,3}\.\d{1,3}\.0\.%", [0, 1, 2]),
        ("%[Ee]rror|ERROR%", [3, 4]),
        ("%^ERROR$%", [4]),
        ("%colou?r%", []),
        (r"%\x34\s1534%", [0]),
        (r"%\x34\x30\x34\s1534%", [0]),
        ("%GET% -%htm % ?500", [0]),
    ],
)
def test_regular_expressions_choose_events(house: LambdaHouse, expression: str, indexes: list[int]) -> None:
    put(house, *LINES)
    assert found(house, expression) == [LINES[index] for index in indexes]


def test_an_expression_that_would_take_forever_is_refused_and_the_next_request_answered(
    house: LambdaHouse,
) -> None:
    put(house, "a" * 5_000)
    expression = f"%{'a*' * 12}[0-9]$%"
    error = refused(house, "FilterLogEvents", logGroupName="/g", filterPattern=expression)
    assert error.code == "InvalidParameterException"
    assert "takes too long" in error.message
    assert len(found(house, "%a%")) == 1


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a-b", "Invalid character(s) in term 'a-b'"),
        ('"open', "quotes must be closed"),
        ("[ip, user", "must end with ']'"),
        ("[]", "at least one"),
        ("[..., a, ...]", "once"),
        ("[a = 1 || b = 2]", "two names"),
        ("[a = 1 b]", "unexpected"),
        ("[a > x]", "needs a number"),
        ("[a = ]", "a value"),
        ("[= 1]", "a field's name"),
        ("{ $.a = %x% || $.b = %y% || $.c = %z% }", "more than 2 regular"),
        ("{ $.a = %x }", "no % at its end"),
        ("%something!%", "does not know '!'"),
        ("%(a|b)%", "does not know '(a'"),
        ("%a{3,1}%", "regular expression %a{3,1}%"),
        ("%%", "is empty"),
        ("%a", "no % at its end"),
        ("{ $.a = 1", "must end with '}'"),
        ("{ $.a }", "an operator"),
        ("{ $.a = }", "a value"),
        ("{ a = 1 }", "a selector"),
        ("{ $.a > x }", "needs a number"),
        ("{ $.a IS ODD }", "IS ODD"),
        ("{ ($.a = 1 }", "not closed"),
        ("{ $.a = 1 $.b = 2 }", "unexpected"),
        ("{" + "(" * 300 + "$.a = 1" + ")" * 300 + "}", "nested parentheses"),
    ],
)
def test_patterns_that_cannot_be_read_are_refused(house: LambdaHouse, pattern: str, said: str) -> None:
    error = refused(house, "FilterLogEvents", logGroupName="/g", filterPattern=pattern)
    assert error.code == "InvalidParameterException"
    assert said in error.message
