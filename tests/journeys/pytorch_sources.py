"""The sources that the journeys with PyTorch and Hugging Face train and serve with: folders beside a notebook."""

from pathlib import Path

MODEL = """
import torch


class Sentiment(torch.nn.Module):
    '''Words as numbers in, one number between 0 and 1 out. The first number of a row is how many words it has.'''

    def __init__(self, embedding_dim, hidden_dim, vocab_size):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.lstm = torch.nn.LSTM(embedding_dim, hidden_dim)
        self.dense = torch.nn.Linear(hidden_dim, 1)

    def forward(self, rows):
        rows = rows.t()
        lengths, words = rows[0], rows[1:]
        states, _ = self.lstm(self.embedding(words))
        last = self.dense(states)[lengths - 1, range(len(lengths))]
        return torch.sigmoid(last.squeeze(1))


WORDS = ["", "<none>", "this", "film", "was", "good", "lovely", "fine", "great", "bad", "dull", "awful", "poor"]


def as_row(text, size=8):
    numbers = [WORDS.index(word) if word in WORDS else 1 for word in text.lower().split()][:size]
    return [len(numbers), *numbers, *[0] * (size - len(numbers))]
"""

TRAIN = """
import argparse
import json
import os
import pickle

import pandas as pd
import sagemaker_containers
import torch
import stagedoor_probe
from torch.utils.data import DataLoader, TensorDataset

from model import Sentiment, WORDS, as_row

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden_dim", type=int, default=100)
    parser.add_argument("--hosts", type=list, default=json.loads(os.environ["SM_HOSTS"]))
    parser.add_argument("--current-host", type=str, default=os.environ["SM_CURRENT_HOST"])
    parser.add_argument("--model-dir", type=str, default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--data-dir", type=str, default=os.environ["SM_CHANNEL_TRAINING"])
    parser.add_argument("--num-gpus", type=int, default=os.environ["SM_NUM_GPUS"])
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"Using device {device}.")
    torch.manual_seed(1)
    table = pd.read_csv(os.path.join(args.data_dir, "train.csv"), header=None)
    labels = torch.from_numpy(table[0].values).float()
    rows = torch.tensor([as_row(text) for text in table[1]])
    model = Sentiment(16, args.hidden_dim, len(WORDS)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for batch, wanted in DataLoader(TensorDataset(rows, labels), batch_size=20, shuffle=True):
            model.zero_grad()
            loss = torch.nn.BCELoss()(model(batch.to(device)), wanted.to(device))
            loss.backward()
            optimizer.step()
            total += loss.data.item()
        print(f"Epoch: {epoch}, BCELoss: {total:.6f}")
    with open(os.path.join(args.model_dir, "model_info.pth"), "wb") as file:
        torch.save({"embedding_dim": 16, "hidden_dim": args.hidden_dim, "vocab_size": len(WORDS)}, file)
    with open(os.path.join(args.model_dir, "word_dict.pkl"), "wb") as file:
        pickle.dump(WORDS, file)
    with open(os.path.join(args.model_dir, "model.pth"), "wb") as file:
        torch.save(model.cpu().state_dict(), file)


def model_fn(model_dir):
    with open(os.path.join(model_dir, "model_info.pth"), "rb") as file:
        info = torch.load(file)
    model = Sentiment(info["embedding_dim"], info["hidden_dim"], info["vocab_size"])
    with open(os.path.join(model_dir, "model.pth"), "rb") as file:
        model.load_state_dict(torch.load(file))
    with open(os.path.join(model_dir, "word_dict.pkl"), "rb") as file:
        model.words = pickle.load(file)
    return model.eval()


def predict_fn(rows, model):
    with torch.no_grad():
        return model(rows.long())
"""

PREDICT = """
import torch

from model import as_row
from train import model_fn


def input_fn(serialized_input_data, content_type):
    if content_type == "text/plain":
        return serialized_input_data.decode("utf-8")
    raise ValueError("Requested unsupported ContentType in content_type: " + content_type)


def output_fn(prediction_output, accept):
    return str(prediction_output)


def predict_fn(input_data, model):
    with torch.no_grad():
        return float(torch.round(model(torch.tensor([as_row(input_data)]))).item())
"""

TRAIN_TRANSFORMER = """
import argparse
import os

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    epochs = parser.parse_args().epochs
    good, bad = ["fine", "lovely", "great"], ["dull", "awful", "poor"]
    texts = [f"a {word} {thing}" for word in good + bad for thing in ("film", "play", "book", "song")] * 4
    words = ["[PAD]", "[UNK]", *sorted({word for text in texts for word in text.split()})]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        id2label={0: "BAD", 1: "GOOD"},
        label2id={"BAD": 0, "GOOD": 1},
    )
    model = BertForSequenceClassification(config)
    rows = [{**tokenizer(text), "labels": int(text.split()[1] in good)} for text in texts]
    arguments = TrainingArguments(
        output_dir="/opt/ml/output/intermediate",
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        learning_rate=0.02,
        report_to=[],
        save_strategy="no",
        logging_steps=12,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    print("processes", arguments.world_size)
    trainer.save_model(os.environ["SM_MODEL_DIR"])
    tokenizer.save_pretrained(os.environ["SM_MODEL_DIR"])
"""

TOGETHER = """
import json
import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.tensor([10.0 ** dist.get_rank()])
dist.all_reduce(total)
with open(os.path.join(os.environ["SM_MODEL_DIR"], f"rank-{dist.get_rank()}.json"), "w") as file:
    json.dump([total.item(), dist.get_world_size(), torch.get_num_threads()], file)
dist.destroy_process_group()
"""


def write(folder: Path) -> None:
    """Put them into ``train``, ``serve``, ``together`` and ``transformer`` below ``folder``, and reviews into ``train.csv``."""
    sources = {
        "train/model.py": MODEL,
        "train/train.py": TRAIN,
        "train/requirements.txt": "# packages of the course\nstagedoor-probe==1.0\n",
        "serve/model.py": MODEL,
        "serve/train.py": TRAIN.replace("import stagedoor_probe\n", ""),
        "serve/predict.py": PREDICT,
        "together/together.py": TOGETHER,
        "transformer/train.py": TRAIN_TRANSFORMER,
        "train.csv": "\n".join(reviews()) + "\n",
    }
    for name, text in sources.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def reviews() -> list[str]:
    """Lines of a table: the label and the text."""
    words = {"good": 1, "lovely": 1, "fine": 1, "great": 1, "bad": 0, "dull": 0, "awful": 0, "poor": 0}
    forms = ("this film was {}", "this was {} film", "{} film", "was this film {} this film")
    return [f"{label},{form.format(word)}" for word, label in words.items() for form in forms] * 4
