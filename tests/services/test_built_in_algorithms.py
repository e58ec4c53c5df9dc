"""Each built-in algorithm through an unmodified boto3 client: train, look into the model, deploy, predict, transform."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from services.job_clients import Desk, waited

from stagedoor.testing import Server

faiss: Any = pytest.importorskip("faiss")
fasttext: Any = pytest.importorskip("fasttext")

REGISTRY = "382416733822.dkr.ecr.us-east-1.amazonaws.com"
PREDICTION_GROUP = "/aws/sagemaker/TrainingJobs"


class Bench:
    """One algorithm on one server."""

    def __init__(self, server: Server, repository: str, folder: Path) -> None:
        self.desk = Desk(server)
        self.server = server
        self.image = f"{REGISTRY}/{repository}:1"
        self.folder = folder

    def fit(
        self, hyperparameters: dict[str, Any], content_type: str | None, **channels: bytes
    ) -> dict[str, Any]:
        """Train; the description of the job, which must have completed. The model is unpacked into ``folder``."""
        desk = self.desk
        inputs: list[dict[str, Any]] = []
        for name, data in channels.items():
            desk.put(f"{name}/data", data)
            channel = desk.channel(name, f"{name}/")
            channel["ContentType"] = content_type
            inputs.append({key: value for key, value in channel.items() if value is not None})
        done = desk.trained(
            "fit",
            AlgorithmSpecification={"TrainingImage": self.image, "TrainingInputMode": "File"},
            HyperParameters={name: str(value) for name, value in hyperparameters.items()},
            InputDataConfig=inputs,
        )
        assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
        packed = desk.read(f"models/{desk.name('fit')}/output/model.tar.gz")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(self.folder, filter="data")
        desk.sagemaker.create_model(
            ModelName=desk.name("model"),
            ExecutionRoleArn=desk.role_arn,
            PrimaryContainer={
                "Image": self.image,
                "ModelDataUrl": done["ModelArtifacts"]["S3ModelArtifacts"],
            },
        )
        return done

    def deploy(self) -> Callable[..., Any]:
        """An endpoint; gives the function that asks it and reads JSON."""
        desk = self.desk
        variant = {
            "VariantName": "V",
            "ModelName": desk.name("model"),
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        desk.sagemaker.create_endpoint_config(
            EndpointConfigName=desk.name("config"), ProductionVariants=[variant]
        )
        desk.sagemaker.create_endpoint(
            EndpointName=desk.name("endpoint"), EndpointConfigName=desk.name("config")
        )
        described = waited(
            lambda: desk.sagemaker.describe_endpoint(EndpointName=desk.name("endpoint")),
            lambda answer: answer["EndpointStatus"] in ("InService", "Failed"),
        )
        assert described["EndpointStatus"] == "InService", described
        runtime = self.server.client("sagemaker-runtime")

        def ask(body: str | bytes, content_type: str = "text/csv", **members: Any) -> Any:
            answer = runtime.invoke_endpoint(
                EndpointName=desk.name("endpoint"), Body=body, ContentType=content_type, **members
            )
            content: bytes = answer["Body"].read()
            return json.loads(content) if answer["ContentType"] == "application/json" else content

        return ask

    def transform(self, data: str, content_type: str, accept: str) -> list[str]:
        """Batch transform of one object; the lines of its output."""
        desk = self.desk
        desk.put("in/rows", data)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{desk.bucket}/in/"}}
        desk.sagemaker.create_transform_job(
            TransformJobName=desk.name("transform"),
            ModelName=desk.name("model"),
            TransformInput={"DataSource": source, "ContentType": content_type, "SplitType": "Line"},
            TransformOutput={
                "S3OutputPath": f"s3://{desk.bucket}/out",
                "Accept": accept,
                "AssembleWith": "Line",
            },
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        done = desk.ended_transform(desk.name("transform"))
        assert done["TransformJobStatus"] == "Completed", done.get("FailureReason")
        return desk.read("out/rows.out").decode().splitlines()


def metrics(done: dict[str, Any]) -> dict[str, float]:
    return {each["MetricName"]: each["Value"] for each in done["FinalMetricDataList"]}


def csv(*columns: Any) -> str:
    text = io.StringIO()
    np.savetxt(text, np.column_stack(columns), delimiter=",", fmt="%.9g")
    return text.getvalue()


def blobs(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Rows around three centres, and which centre it is."""
    random = np.random.default_rng(5)
    centers = np.array([[0, 0, 0, 0], [6, 0, 3, 0], [0, 6, 0, 3]], dtype=np.float32)
    labels = random.integers(0, 3, count)
    return (centers[labels] + random.normal(0, 0.7, (count, 4))).astype(np.float32), labels


def test_linear_learner(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "linear-learner", tmp_path)
    features, groups = blobs()
    labels = (groups == 1).astype(int)
    done = bench.fit(
        {"predictor_type": "binary_classifier", "mini_batch_size": 50, "num_models": 4},
        "text/csv",
        train=csv(labels[:200], features[:200]).encode(),
        validation=csv(labels[200:], features[200:]).encode(),
    )
    assert metrics(done)["validation:binary_classification_accuracy"] == 1.0
    assert {"train:objective_loss", "validation:objective_loss:final", "validation:roc_auc_score"} <= set(
        metrics(done)
    )
    opened = joblib.load(tmp_path / "model.joblib")
    ask = bench.deploy()
    found = ask(csv(features[:9]))["predictions"]
    assert [one["predicted_label"] for one in found] == labels[:9].tolist()
    expected = opened.predict_proba(features[:9].astype(np.float64))[:, 1]
    np.testing.assert_allclose([one["score"] for one in found], expected, atol=1e-6)
    lines = bench.transform(csv(features[:9]), "text/csv", "application/jsonlines")
    np.testing.assert_allclose([json.loads(line)["score"] for line in lines], expected, atol=1e-6)


def test_kmeans(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "kmeans", tmp_path)
    features, groups = blobs()
    done = bench.fit(
        {"k": 3, "feature_dim": 4, "eval_metrics": '["msd", "ssd"]', "force_dense": "True"},
        "text/csv;label_size=0",
        train=csv(features).encode(),
        test=csv(features[:100]).encode(),
    )
    found = metrics(done)
    assert found["test:msd"] == pytest.approx(found["test:ssd"] / 100)
    opened = joblib.load(tmp_path / "model.joblib")
    ask = bench.deploy()
    answers = ask(csv(features[:20]))["predictions"]
    clusters = [int(one["closest_cluster"]) for one in answers]
    rows = features[:20].astype(np.float64)
    assert clusters == opened.predict(rows).tolist()
    np.testing.assert_allclose(
        [one["distance_to_cluster"] for one in answers], opened.transform(rows).min(axis=1), rtol=1e-5
    )
    assert len(set(zip(clusters, groups[:20].tolist(), strict=True))) == 3  # the groups, under other names
    lines = bench.transform(csv(features[:20]), "text/csv", "text/csv")
    assert [float(line.split(",")[0]) for line in lines] == clusters


def test_pca(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "pca", tmp_path)
    features, _ = blobs()
    bench.fit(
        {"num_components": 2, "feature_dim": 4, "mini_batch_size": 100},
        "text/csv;label_size=0",
        train=csv(features).encode(),
    )
    opened = joblib.load(tmp_path / "model.joblib")
    ask = bench.deploy()
    answers = ask(
        json.dumps({"instances": [{"features": row.tolist()} for row in features[:5]]}), "application/json"
    )
    projected = np.array([one["projection"] for one in answers["projections"]])
    expected = opened.transform(features[:5].astype(np.float64))
    np.testing.assert_allclose(projected, expected[:, ::-1], atol=1e-4)  # the largest component comes last
    lines = bench.transform(csv(features[:5]), "text/csv", "application/jsonlines")
    np.testing.assert_allclose([json.loads(line)["projection"] for line in lines], projected, atol=1e-6)


def test_knn(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "knn", tmp_path)
    features, groups = blobs()
    done = bench.fit(
        {"k": 3, "sample_size": 200, "predictor_type": "classifier", "feature_dim": 4},
        "text/csv;label_size=1",
        train=csv(groups, features).encode(),
        test=csv(groups[:50], features[:50]).encode(),
    )
    assert metrics(done)["test:accuracy"] == 1.0
    ask = bench.deploy()
    answers = ask(csv(features[:6]), Accept="application/json; verbose=true")["predictions"]
    assert [one["predicted_label"] for one in answers] == groups[:6].tolist()
    index = faiss.read_index(str(tmp_path / "model_algo-1"))
    squared, numbers = index.search(features[:6], 3)
    labels = np.fromfile(tmp_path / "model_algo-1.labels", dtype="<f4")
    np.testing.assert_allclose([one["distances"] for one in answers], np.sqrt(squared), atol=1e-4)
    assert [one["labels"] for one in answers] == labels[numbers].tolist()
    lines = bench.transform(csv(features[:6]), "text/csv", "application/jsonlines")
    assert [json.loads(line)["predicted_label"] for line in lines] == groups[:6].tolist()


def test_factorization_machines(stagedoor: Server, tmp_path: Path) -> None:
    from worker.records import dense_records, sparse_records

    bench = Bench(stagedoor, "factorization-machines", tmp_path)
    random = np.random.default_rng(2)
    features = (random.random((400, 6)) < 0.5).astype(np.float32)
    labels = (features[:, 0] == features[:, 1]).astype(np.float32)  # an interaction: no linear model sees it
    done = bench.fit(
        {
            "predictor_type": "binary_classifier",
            "feature_dim": 6,
            "num_factors": 4,
            "epochs": 60,
            "mini_batch_size": 50,
            "factors_lr": 0.02,
            "linear_lr": 0.02,
            "factors_init_sigma": 0.1,
        },
        None,
        train=sparse_records(features, labels),
        test=dense_records(features[:100], labels[:100]),
    )
    assert metrics(done)["test:binary_classification_accuracy"] > 0.95
    ask = bench.deploy()
    keys = [np.flatnonzero(row).tolist() for row in features[:8]]
    sparse = [{"data": {"features": {"keys": key, "shape": [6], "values": [1] * len(key)}}} for key in keys]
    answers = ask(json.dumps({"instances": sparse}), "application/json")["predictions"]
    assert [one["predicted_label"] for one in answers] == labels[:8].tolist()
    with np.load(tmp_path / "model_algo-1") as arrays:
        bias, linear, factors = arrays["bias"], arrays["linear"], arrays["factors"]
    pairs = np.triu(factors @ factors.T, 1)
    margins = bias[0] + features[:8] @ linear + np.einsum("ni,ij,nj->n", features[:8], pairs, features[:8])
    np.testing.assert_allclose([one["score"] for one in answers], 1 / (1 + np.exp(-margins)), atol=1e-5)
    lines = bench.transform(
        "\n".join(json.dumps(one) for one in sparse) + "\n", "application/jsonlines", "application/jsonlines"
    )
    assert [json.loads(line) for line in lines] == answers


def test_random_cut_forest(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "randomcutforest", tmp_path)
    random = np.random.default_rng(1)
    rows = np.vstack([random.normal(size=(300, 2)), [[8.0, 8.0], [-9.0, 7.0]]])
    truth = np.r_[np.zeros(300), 1, 1]
    desk = bench.desk
    desk.put("train/data", csv(rows[:300]))
    desk.put("test/data", csv(truth, rows))
    done = bench.fit(
        {"num_trees": 50, "num_samples_per_tree": 64, "feature_dim": 2},
        "text/csv;label_size=1",
        train=csv(np.zeros(300), rows[:300]).encode(),
        test=csv(truth, rows).encode(),
    )
    assert metrics(done)["test:recall"] == 1.0
    assert metrics(done)["test:f1"] > 0.7
    ask = bench.deploy()
    scores = [one["score"] for one in ask("0.1,0.2\n8,8\n")["scores"]]
    assert scores[0] < 1.2
    assert scores[1] > 2.5
    lines = bench.transform("0.1,0.2\n8,8\n", "text/csv", "application/jsonlines")
    assert [json.loads(line)["score"] for line in lines] == scores
    with np.load(tmp_path / "model_algo-1", allow_pickle=False) as arrays:
        assert arrays["mass"][:, 0].tolist() == [64] * 50


GOOD, BAD = "great lovely fine wonderful nice".split(), "awful poor dull terrible bad".split()


def reviews() -> bytes:
    random = np.random.default_rng(4)
    lines = []
    for number in range(300):
        label = number % 2
        words = random.choice((GOOD if label else BAD) + ["the", "film", "was", "a", "plot"], 8)
        lines.append(f"__label__{label} {' '.join(words)}")
    return "\n".join(lines).encode() + b"\n"


def test_blazingtext_classifies_texts(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "blazingtext", tmp_path)
    done = bench.fit(
        {
            "mode": "supervised",
            "vector_dim": 10,
            "buckets": 1000,
            "min_count": 1,
            "epochs": 10,
            "learning_rate": 0.3,
        },
        "text/plain",
        train=reviews(),
        validation=reviews(),
    )
    assert metrics(done)["validation:accuracy"] == 1.0
    ask = bench.deploy()
    texts = ["great lovely film", "a dull terrible plot"]
    answers = ask(json.dumps({"instances": texts, "configuration": {"k": 2}}), "application/json")
    opened = fasttext.load_model(str(tmp_path / "model.bin"))
    for text, answer in zip(texts, answers, strict=True):
        labels, chances = opened.predict(text, k=2)
        assert answer["label"] == list(labels)
        np.testing.assert_allclose(answer["prob"], np.minimum(chances, 1), atol=1e-6)
    lines = bench.transform(
        "".join(json.dumps({"source": text}) + "\n" for text in texts),
        "application/jsonlines",
        "application/jsonlines",
    )
    assert [json.loads(line)["label"] for line in lines] == [["__label__1"], ["__label__0"]]


def test_blazingtext_learns_word_vectors(stagedoor: Server, tmp_path: Path) -> None:
    bench = Bench(stagedoor, "blazingtext", tmp_path)
    bench.fit(
        {
            "mode": "skipgram",
            "vector_dim": 8,
            "min_count": 1,
            "subwords": "True",
            "buckets": 500,
            "evaluation": "False",
        },
        "text/plain",
        train=reviews(),
    )
    opened = fasttext.load_model(str(tmp_path / "vectors.bin"))
    ask = bench.deploy()
    answers = ask(json.dumps({"instances": ["great", "greatest"]}), "application/json")
    for answer in answers:  # the second is no word of the texts, and has parts that are
        np.testing.assert_allclose(answer["vector"], opened.get_word_vector(answer["word"]), atol=1e-6)
        assert any(answer["vector"])
    head, *lines = (tmp_path / "vectors.txt").read_text().splitlines()
    assert head == f"{len(lines)} 8"
    stored = {line.split()[0]: [float(number) for number in line.split()[1:]] for line in lines}
    np.testing.assert_allclose(stored["great"], answers[0]["vector"], atol=1e-5)


@pytest.mark.parametrize(
    ("repository", "hyperparameters", "data", "reason"),
    [
        ("kmeans", {"k": "3"}, b"1,2\n", "ClientError: Missing required hyperparameter: feature_dim"),
        (
            "pca",
            {"num_components": "1", "feature_dim": "2", "mini_batch_size": "5", "colour": "red"},
            b"1,2,3\n",
            "ClientError: Extraneous hyperparameter found: colour",
        ),
        (
            "knn",
            {"k": "1", "sample_size": "2", "predictor_type": "classifier", "feature_dim": "2"},
            b"1,2\n3,4\n",
            "ClientError: The rows of the 'train' channel have 1 features, and feature_dim is 2",
        ),
        (
            "linear-learner",
            {"predictor_type": "binary_classifier"},
            b"1,2,nan\n0,1,1\n",
            "ClientError: Input contains NaN or infinity: row 1, feature 2 of the 'train' channel.",
        ),
    ],
)
def test_mistakes_fail_the_job_with_the_reason(
    stagedoor: Server,
    tmp_path: Path,
    repository: str,
    hyperparameters: dict[str, str],
    data: bytes,
    reason: str,
) -> None:
    bench = Bench(stagedoor, repository, tmp_path)
    bench.desk.put("train/data", data)
    done = bench.desk.trained(
        "wrong",
        AlgorithmSpecification={"TrainingImage": bench.image, "TrainingInputMode": "File"},
        HyperParameters=hyperparameters,
        InputDataConfig=[bench.desk.channel("train", "train/")],
    )
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith(reason)
    assert bench.desk.keys("models/") == []
