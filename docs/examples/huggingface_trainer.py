"""Train a tiny random model with the Hugging Face Trainer, and find its joules.

Needs ``transformers``, ``torch`` and ``accelerate``; a running exporter has the joules.
"""

from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from joulestat.huggingface import JoulestatCallback

TEXT = list(b"Measure joules, not estimates. " * 40)
dataset = [{"input_ids": TEXT[at : at + 32], "labels": TEXT[at : at + 32]} for at in range(1000)]

trainer = Trainer(
    model=GPT2LMHeadModel(
        GPT2Config(vocab_size=256, n_positions=32, n_embd=32, n_layer=2, n_head=2)
    ),
    args=TrainingArguments("out", max_steps=40, logging_steps=10, save_steps=20, report_to="none"),
    train_dataset=dataset,
)
JoulestatCallback(run="tiny-gpt", team="nlp").attach(trainer)  # this line is all

metrics = trainer.train().metrics
trainer.save_metrics("train", metrics)  # into out/train_results.json
print(f"{metrics.get('energy_joules', 'unknown')} J in {trainer.state.global_step} steps")
