"""Tuning of a script of one's own on a real server: what is not promising is ended before its time."""

from typing import Any

from services.frameworks import SKLEARN, Workbench
from services.job_clients import waited

# Three levels end at once; the lowest would go on for a long time.
SCRIPT = """
    import json, time
    level = float(json.load(open("/opt/ml/input/config/hyperparameters.json"))["level"])
    for epoch in range(5 if level else 600):
        print(f"score={level + epoch / 100};", flush=True)
        time.sleep(0 if level else 0.1)
"""


def test_a_trial_below_the_median_of_the_others_is_stopped_early(bench: Workbench) -> None:
    bench.put("train/rows.csv", "1\n")
    source = bench.source({"train.py": SCRIPT})
    name = bench.name("early")
    bench.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "TrainingJobEarlyStoppingType": "Auto",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 1},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "level", "Values": ["5", "6", "7", "0"]}]
            },
        },
        TrainingJobDefinition={
            "StaticHyperParameters": {"sagemaker_program": "train.py", "sagemaker_submit_directory": source},
            "AlgorithmSpecification": {
                "TrainingImage": SKLEARN,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "score", "Regex": "score=(.*?);"}],
            },
            "RoleArn": bench.role_arn,
            "OutputDataConfig": {"S3OutputPath": f"s3://{bench.bucket}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    )

    def described() -> dict[str, Any]:
        return bench.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    done = waited(described, lambda answer: answer["HyperParameterTuningJobStatus"] != "InProgress")
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"level": "7"}
    listed = bench.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    ends = {
        each["TunedHyperParameters"]["level"]: each["TrainingJobStatus"]
        for each in listed["TrainingJobSummaries"]
    }
    assert ends == {"5": "Completed", "6": "Completed", "7": "Completed", "0": "Stopped"}
