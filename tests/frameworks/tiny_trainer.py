"""A Hugging Face Trainer of a tiny random model, for scripts in a process of their own."""

from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

TOKENS_PER_SAMPLE = 8


def tiny_model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=32, n_positions=TOKENS_PER_SAMPLE, n_embd=8, n_layer=1, n_head=2)
    )


def samples(count: int) -> list[dict[str, torch.Tensor]]:
    ids = torch.arange(TOKENS_PER_SAMPLE)
    return [
        {"input_ids": (ids + index) % 32, "labels": (ids + index) % 32} for index in range(count)
    ]


def quiet_arguments(folder: Path, **more: Any) -> TrainingArguments:
    """Return arguments for a short training: no tracker, no checkpoint, no log but the last."""
    usual = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(**{**usual, **more})


def tiny_trainer(
    folder: Path,
    *callbacks: Any,
    train: int = 16,
    evaluate: Any = 4,
    kind: type[Trainer] = Trainer,
    **more: Any,
) -> Trainer:
    """Return a Trainer over so many samples; of several sets by name for an evaluation."""
    sets = evaluate if isinstance(evaluate, dict) else {"": evaluate}
    made = {name: samples(count) for name, count in sets.items()}
    return kind(
        model=tiny_model(),
        args=quiet_arguments(folder, **more),
        train_dataset=samples(train),
        eval_dataset=made if isinstance(evaluate, dict) else made[""],
        callbacks=list(callbacks),
    )
