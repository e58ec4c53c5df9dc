"""Experiments: collections of trials."""

from typing import Any

from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import authors, experiment_names, names, paging, tag_sets
from stagedoor.services.sagemaker.names import EXPERIMENT, TRIAL, validation


def create_experiment(call: Call, request: dict[str, Any]) -> Answer:
    """CreateExperiment. The display name is the name unless given."""
    name = request["ExperimentName"]
    document = request | {"ExperimentArn": names.arn(call, EXPERIMENT, name)}
    with call.house.records.transaction() as transaction:
        arn = experiment_names.insert(call, transaction, EXPERIMENT, name, document)
    return {"ExperimentArn": arn}


def describe_experiment(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeExperiment."""
    record = experiment_names.existing(call, call.house.records, EXPERIMENT, request["ExperimentName"])
    return names.public(record.document)


def list_experiments(call: Call, request: dict[str, Any]) -> Answer:
    """ListExperiments, newest first unless told otherwise."""
    summarise = paging.members(
        "ExperimentArn", "ExperimentName", "DisplayName", "CreationTime", "LastModifiedTime"
    )
    summaries = paging.ByCreation(call, EXPERIMENT.kind, summarise)
    return paging.answer(
        experiment_names.by_creation(request),
        summaries,
        member="ExperimentSummaries",
        name_member="ExperimentName",
    )


def update_experiment(call: Call, request: dict[str, Any]) -> Answer:
    """UpdateExperiment: display name and description."""
    with call.house.records.transaction() as transaction:
        record = experiment_names.existing(call, transaction, EXPERIMENT, request["ExperimentName"])
        changes = {name: request[name] for name in ("DisplayName", "Description") if name in request}
        transaction.put(record.key, record.document | changes | authors.change(call))
    return {"ExperimentArn": record.document["ExperimentArn"]}


def delete_experiment(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteExperiment: only without trials."""
    name = request["ExperimentName"]
    with call.house.records.transaction() as transaction:
        record = experiment_names.existing(call, transaction, EXPERIMENT, name)
        trials = transaction.list(TRIAL.kind, call.account_id, call.region)
        if any(trial.document["ExperimentName"].lower() == name.lower() for trial in trials):
            raise validation(
                f"Experiment '{name}' cannot be deleted because it still has trials. Delete them first."
            )
        transaction.delete(record.key)
        tag_sets.forget(transaction, record.document["ExperimentArn"])
    return {"ExperimentArn": record.document["ExperimentArn"]}
