"""Trials: the runs of an experiment, each a collection of components; and which component belongs to which."""

from typing import Any

from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import authors, experiment_names, names, paging, tag_sets
from stagedoor.services.sagemaker.names import EXPERIMENT, TRIAL, TRIAL_COMPONENT, validation


def create_trial(call: Call, request: dict[str, Any]) -> Answer:
    """CreateTrial in an existing experiment."""
    name = request["TrialName"]
    with call.house.records.transaction() as transaction:
        experiment = experiment_names.existing(call, transaction, EXPERIMENT, request["ExperimentName"])
        document = request | {
            "TrialArn": names.arn(call, TRIAL, name),
            "ExperimentName": experiment.document["ExperimentName"],
        }
        arn = experiment_names.insert(call, transaction, TRIAL, name, document)
    return {"TrialArn": arn}


def describe_trial(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeTrial."""
    record = experiment_names.existing(call, call.house.records, TRIAL, request["TrialName"])
    return names.public(record.document)


def list_trials(call: Call, request: dict[str, Any]) -> Answer:
    """ListTrials: all, those of an experiment, or those that a component belongs to; newest first unless told otherwise."""
    records = call.house.records
    experiment, component = request.get("ExperimentName"), request.get("TrialComponentName")
    if experiment is not None and component is not None:
        raise validation("ListTrials takes ExperimentName or TrialComponentName, not both.")
    found = records.list(TRIAL.kind, call.account_id, call.region)
    if experiment is not None:
        experiment_names.existing(call, records, EXPERIMENT, experiment)
        found = [one for one in found if one.document["ExperimentName"].lower() == experiment.lower()]
    if component is not None:
        key = experiment_names.existing(call, records, TRIAL_COMPONENT, component).key
        ours = set(experiment_names.trials_of(call, records, key.name))
        found = [one for one in found if one.name in ours]
    members = ("TrialArn", "TrialName", "DisplayName", "CreationTime", "LastModifiedTime")
    summaries = [{member: record.document[member] for member in members} for record in found]
    return paging.answer(
        experiment_names.by_creation(request), summaries, member="TrialSummaries", name_member="TrialName"
    )


def update_trial(call: Call, request: dict[str, Any]) -> Answer:
    """UpdateTrial: the display name."""
    with call.house.records.transaction() as transaction:
        record = experiment_names.existing(call, transaction, TRIAL, request["TrialName"])
        changes = {name: request[name] for name in ("DisplayName",) if name in request}
        transaction.put(record.key, record.document | changes | authors.change(call))
    return {"TrialArn": record.document["TrialArn"]}


def delete_trial(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteTrial: only without components."""
    name = request["TrialName"]
    with call.house.records.transaction() as transaction:
        record = experiment_names.existing(call, transaction, TRIAL, name)
        if experiment_names.components_of(call, transaction, name):
            raise validation(
                f"Trial '{name}' cannot be deleted because it has components. Take them out with DisassociateTrialComponent."
            )
        transaction.delete(record.key)
        tag_sets.forget(transaction, record.document["TrialArn"])
    return {"TrialArn": record.document["TrialArn"]}


def associate_trial_component(call: Call, request: dict[str, Any]) -> Answer:
    """AssociateTrialComponent: doing it again changes nothing."""
    with call.house.records.transaction() as transaction:
        trial = experiment_names.existing(call, transaction, TRIAL, request["TrialName"])
        component = experiment_names.existing(
            call, transaction, TRIAL_COMPONENT, request["TrialComponentName"]
        )
        key = experiment_names.association(call, trial.name, component.name)
        if transaction.get(key) is None:
            transaction.insert(key, {"creationTime": call.now})
    return {
        "TrialComponentArn": component.document["TrialComponentArn"],
        "TrialArn": trial.document["TrialArn"],
    }


def disassociate_trial_component(call: Call, request: dict[str, Any]) -> Answer:
    """DisassociateTrialComponent."""
    with call.house.records.transaction() as transaction:
        trial = experiment_names.existing(call, transaction, TRIAL, request["TrialName"])
        component = experiment_names.existing(
            call, transaction, TRIAL_COMPONENT, request["TrialComponentName"]
        )
        if not transaction.delete(experiment_names.association(call, trial.name, component.name)):
            raise experiment_names.not_found(
                TRIAL_COMPONENT, f"{request['TrialComponentName']} of trial {request['TrialName']}"
            )
    return {
        "TrialComponentArn": component.document["TrialComponentArn"],
        "TrialArn": trial.document["TrialArn"],
    }
