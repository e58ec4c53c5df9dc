"""Trial components: what was run, with which parameters and artifacts, and what came out of it.

Those that SageMaker makes for jobs follow their job (``job_components``); what somebody writes into one wins.
"""

from typing import Any

from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import (
    authors,
    experiment_names,
    job_components,
    names,
    paging,
    tag_sets,
)
from stagedoor.services.sagemaker.names import EXPERIMENT, TRIAL, TRIAL_COMPONENT, validation
from stagedoor.services.sagemaker.paging import seconds
from stagedoor.store.records import Record
from stagedoor.store.step_metrics import Component

_MAPS = ("Parameters", "InputArtifacts", "OutputArtifacts")
_AT_MOST = {"Parameters": 300, "InputArtifacts": 60, "OutputArtifacts": 60}


def create_trial_component(call: Call, request: dict[str, Any]) -> Answer:
    """CreateTrialComponent, of no trial yet."""
    name = request["TrialComponentName"]
    _check(request)
    document = request | _times(request) | {"TrialComponentArn": names.arn(call, TRIAL_COMPONENT, name)}
    with call.house.records.transaction() as transaction:
        arn = experiment_names.insert(call, transaction, TRIAL_COMPONENT, name, document)
    return {"TrialComponentArn": arn}


def _times(request: dict[str, Any]) -> dict[str, Any]:
    return {name: seconds(request[name]) for name in ("StartTime", "EndTime") if name in request}


def _check(document: dict[str, Any]) -> None:
    for member in _MAPS:
        if len(document.get(member) or {}) > _AT_MOST[member]:
            raise validation(f"A trial component has at most {_AT_MOST[member]} {member}.")
    parameters: dict[str, dict[str, Any]] = document.get("Parameters") or {}
    for name, value in parameters.items():
        if len(value) != 1:
            raise validation(f"Parameters.{name} needs either a StringValue or a NumberValue.")


def describe_trial_component(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeTrialComponent, by name or ARN."""
    record = experiment_names.existing(
        call, call.house.records, TRIAL_COMPONENT, request["TrialComponentName"]
    )
    return job_components.shown(call, record.document)


def list_trial_components(call: Call, request: dict[str, Any]) -> Answer:
    """ListTrialComponents: all, or those of an experiment, a trial or a source; newest first unless told otherwise."""
    given = [name for name in ("ExperimentName", "TrialName", "SourceArn") if request.get(name) is not None]
    if len(given) > 1:
        raise validation(f"ListTrialComponents takes {given[0]} or {given[1]}, not both.")
    members = (
        "TrialComponentName",
        "TrialComponentArn",
        "DisplayName",
        "Status",
        "StartTime",
        "EndTime",
        "CreationTime",
        "CreatedBy",
        "LastModifiedTime",
        "LastModifiedBy",
    )
    summaries: list[dict[str, Any]] = []
    for record in _chosen(call, request):
        shown = job_components.described(call.house.records, record.document)
        summary = {member: shown[member] for member in members if member in shown}
        if "Source" in shown:
            summary["TrialComponentSource"] = shown["Source"]
        summaries.append(summary)
    return paging.answer(
        experiment_names.by_creation(request),
        summaries,
        member="TrialComponentSummaries",
        name_member="TrialComponentName",
    )


def _chosen(call: Call, request: dict[str, Any]) -> list[Record]:
    records = call.house.records
    everything = records.list(TRIAL_COMPONENT.kind, call.account_id, call.region)
    if (source := request.get("SourceArn")) is not None:
        return [one for one in everything if one.document.get("Source", {}).get("SourceArn") == source]
    if (experiment := request.get("ExperimentName")) is not None:
        experiment_names.existing(call, records, EXPERIMENT, experiment)
        trials = [
            trial.name
            for trial in records.list(TRIAL.kind, call.account_id, call.region)
            if trial.document["ExperimentName"].lower() == experiment.lower()
        ]
    elif (trial_name := request.get("TrialName")) is not None:
        trials = [experiment_names.existing(call, records, TRIAL, trial_name).name]
    else:
        return everything
    ours = {name for trial in trials for name in experiment_names.components_of(call, records, trial)}
    return [one for one in everything if one.name in ours]


def update_trial_component(call: Call, request: dict[str, Any]) -> Answer:
    """UpdateTrialComponent: members are replaced, parameters and artifacts are added to those present or removed by name."""
    changes = {name: request[name] for name in ("DisplayName", "Status") if name in request} | _times(request)
    with call.house.records.transaction() as transaction:
        record = experiment_names.existing(call, transaction, TRIAL_COMPONENT, request["TrialComponentName"])
        document = record.document
        for member in _MAPS:
            added: dict[str, Any] = request.get(member) or {}
            gone: list[str] = request.get(f"{member}ToRemove") or []
            if added or gone:
                merged = document.get(member, {}) | added
                changes[member] = {name: value for name, value in merged.items() if name not in gone}
                # What follows from the job must not come back.
                hidden = f"removed{member}"
                changes[hidden] = sorted((set(document.get(hidden, [])) | set(gone)) - set(added))
        _check(changes)
        transaction.put(record.key, document | changes | authors.change(call))
    return {"TrialComponentArn": document["TrialComponentArn"]}


def delete_trial_component(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteTrialComponent: only one of no trial."""
    name = request["TrialComponentName"]
    with call.house.records.transaction() as transaction:
        record = experiment_names.existing(call, transaction, TRIAL_COMPONENT, name)
        trials = experiment_names.trials_of(call, transaction, record.name)
        if trials:
            raise validation(
                f"Trial component '{name}' cannot be deleted because it belongs to the trial '{trials[0]}'. Take it out with "
                "DisassociateTrialComponent."
            )
        transaction.delete(record.key)
        tag_sets.forget(transaction, record.document["TrialComponentArn"])
    call.house.step_metrics.forget(Component(call.account_id, call.region, record.name))
    return {"TrialComponentArn": record.document["TrialComponentArn"]}
