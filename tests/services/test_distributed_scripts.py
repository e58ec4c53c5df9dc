"""Scripts that train on several instances: PyTorch with gloo, by itself and by torchrun, and XGBoost with its own collective."""

import json
from typing import Any

import pytest
import xgboost
from botocore.exceptions import ClientError
from services.frameworks import PYTORCH, REGISTRY, XGBOOST, Workbench, unpacked
from services.job_clients import as_csv, rows

TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}
GPU_TRAINING = f"{REGISTRY}/pytorch-training:2.3.0-gpu-py311"

# What AWS's own examples do: the place of each host out of SM_HOSTS, everything else out of the environment, gradients averaged.
BY_HAND = """
    import json, os, socket
    import torch
    import torch.distributed as dist

    hosts, me = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
    print("at", socket.gethostbyname(hosts[0]), os.environ["MASTER_ADDR"])
    os.environ["WORLD_SIZE"], os.environ["RANK"] = str(len(hosts)), str(hosts.index(me))
    dist.init_process_group(backend="gloo", rank=hosts.index(me), world_size=len(hosts))
    torch.manual_seed(7)
    layer = model = torch.nn.Linear(3, 1, bias=False)

    def share(model):
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
"""
# What scripts for torchrun do.
STARTED = """
    import json, os
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    torch.manual_seed(7)
    layer = torch.nn.Linear(3, 1, bias=False)
    model = torch.nn.parallel.DistributedDataParallel(layer)

    def share(model):
        pass
"""
TRAIN = """
    rank = dist.get_rank()
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])[rank : rank + 1]
    model(rows).sum().backward()
    share(model)
    total = torch.tensor([10.0 ** rank])
    dist.all_reduce(total)
    answer = {"sum": total.item(), "gradient": layer.weight.grad[0].tolist(), "of": dist.get_world_size()}
    with open(os.path.join(os.environ["SM_MODEL_DIR"], f"rank-{rank}.json"), "w") as file:
        json.dump(answer, file)
    dist.destroy_process_group()
"""
# The sum of 1 and 10, and the mean of both hosts' gradients.
TOGETHER = {"sum": 11.0, "gradient": [0.5, 1.0, 0.0], "of": 2}


def answers(bench: Workbench, job: dict[str, Any]) -> dict[str, Any]:
    assert job["TrainingJobStatus"] == "Completed", job
    files = unpacked(bench.read(f"models/{job['TrainingJobName']}/output/model.tar.gz"))
    return {name: json.loads(data) for name, data in files.items()}


def test_hosts_that_call_init_process_group_train_one_model(torch_bench: Workbench) -> None:
    torch_bench.put("train/part-0.csv", as_csv(*rows()))
    job = torch_bench.ran("hand", {"train.py": BY_HAND + TRAIN}, image=PYTORCH, ResourceConfig=TWO)
    assert answers(torch_bench, job) == {"rank-0.json": TOGETHER, "rank-1.json": TOGETHER}
    assert torch_bench.training_log("hand").count("at 127.0.0.1 algo-1") == 2


def test_torchrun_starts_the_script_on_each_host(torch_bench: Workbench) -> None:
    torch_bench.put("train/part-0.csv", as_csv(*rows()))
    job = torch_bench.ran(
        "run",
        {"train.py": STARTED + TRAIN},
        image=GPU_TRAINING,
        hyperparameters={"sagemaker_distributed_dataparallel_enabled": "true"},
        ResourceConfig=TWO,
    )
    assert answers(torch_bench, job) == {"rank-0.json": TOGETHER, "rank-1.json": TOGETHER}


def test_torchrun_on_one_host_tells_the_scripts_traceback(torch_bench: Workbench) -> None:
    torch_bench.put("train/part-0.csv", as_csv(*rows()))
    script = """
        import torch.distributed as dist
        dist.init_process_group("gloo")
        print("alone", dist.get_world_size())
        raise ValueError("the loss is NaN")
    """
    distributed = {"sagemaker_torch_distributed_enabled": "true"}
    job = torch_bench.ran("one", {"train.py": script}, image=GPU_TRAINING, hyperparameters=distributed)
    assert job["TrainingJobStatus"] == "Failed"
    assert "ValueError: the loss is NaN" in job["FailureReason"]
    assert "ExitCode 1\n" in job["FailureReason"]
    assert "ChildFailedError" not in job["FailureReason"]
    assert "alone 1" in torch_bench.training_log("one")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sagemaker_mpi_enabled", "true"),
        ("sagemaker_parameter_server_enabled", "true"),
        ("mp_parameters", '{"partitions": 2}'),
    ],
)
def test_launchers_that_only_aws_has_are_refused_by_name(bench: Workbench, name: str, value: str) -> None:
    bench.put("train/part-0.csv", as_csv(*rows()))
    with pytest.raises(ClientError, match=rf"HyperParameters\.{name} .* is not supported"):
        bench.ran("mpi", {"train.py": "print()"}, image=GPU_TRAINING, hyperparameters={name: value})


BOOST = """
    import argparse, json, os
    import numpy as np
    import xgboost
    from sagemaker_xgboost_container import distributed
    from sagemaker_xgboost_container.data_utils import get_dmatrix

    def work(params, train, model_dir, is_master):
        booster = xgboost.train(params, train, num_boost_round=4, evals=[(train, "train")])
        if is_master:
            booster.save_model(os.path.join(model_dir, "xgboost-model"))
        with open(os.path.join(model_dir, f"rows-{os.environ['SM_CURRENT_HOST']}"), "w") as file:
            file.write(f"{train.num_row()} {is_master}")

    if __name__ == "__main__":
        hosts, me = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
        folder = os.environ["SM_CHANNEL_TRAIN"]
        train = get_dmatrix(folder, "csv") if os.listdir(folder) else None
        arguments = {
            "params": {"max_depth": 3, "objective": "binary:logistic", "tree_method": "hist"},
            "train": train,
            "model_dir": os.environ["SM_MODEL_DIR"],
        }
        distributed.rabit_run(
            exec_fun=work,
            args=arguments,
            include_in_training=train is not None,
            hosts=hosts,
            current_host=me,
            update_rabit_args=True,
        )
"""


def boosted(bench: Workbench, stem: str, parts: int, **members: Any) -> dict[str, bytes]:
    features, labels = rows(400)
    for number in range(parts):
        bench.put(f"train/part-{number}.csv", as_csv(features[number::parts], labels[number::parts]))
    channel = bench.channel("train", "train/")
    channel["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    job = bench.ran(stem, {"train.py": BOOST}, image=XGBOOST, InputDataConfig=[channel], **members)
    assert job["TrainingJobStatus"] == "Completed", (job, bench.training_log(stem))
    return unpacked(bench.read(f"models/{job['TrainingJobName']}/output/model.tar.gz"))


def test_rabit_run_trains_xgboost_on_all_hosts(bench: Workbench) -> None:
    found = boosted(bench, "rabit", 2, ResourceConfig=TWO)
    assert found["rows-algo-1"] == b"200 True"
    assert found["rows-algo-2"] == b"200 False"
    assert bench.training_log("rabit").count("[3]\ttrain-logloss:") == 1
    features, labels = rows(400)
    matrix = xgboost.DMatrix(features, label=labels)
    alone = xgboost.train({"max_depth": 3, "objective": "binary:logistic"}, matrix, 4)
    together = xgboost.Booster(model_file=bytearray(found["xgboost-model"]))
    assert together.predict(matrix) == pytest.approx(alone.predict(matrix), abs=1e-4)


def test_a_host_without_data_takes_no_part_in_rabit_run(bench: Workbench) -> None:
    three = {**TWO, "InstanceCount": 3}
    found = boosted(bench, "spare", 2, ResourceConfig=three)
    assert set(found) == {"rows-algo-1", "rows-algo-2", "xgboost-model"}
