"""Accelerate: joules per step in Prometheus, and in Accelerate's own checkpoints.

Alone:                python accelerate_loop.py
One process per GPU:  accelerate launch accelerate_loop.py
"""

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import joulestat

EPOCHS = 2
BATCH_SIZE = 32
CHECKPOINT = Path("checkpoint")


def main() -> None:
    """Fit a line, two batches a step."""
    accelerator = Accelerator(gradient_accumulation_steps=2)
    torch.manual_seed(0)
    inputs = torch.randn(640, 8)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(dim=1, keepdim=True)), BATCH_SIZE)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    with joulestat.init(run="accelerate-example") as run:
        accelerator.register_for_checkpointing(run)
        if CHECKPOINT.exists():
            accelerator.load_state(str(CHECKPOINT))  # the joules of the model go on
        for epoch in range(EPOCHS):
            with run.phase("train"):
                for batch, wanted in loader:
                    with accelerator.accumulate(model):
                        loss = nn.functional.mse_loss(model(batch), wanted)
                        accelerator.backward(loss)
                        optimizer.step()
                        optimizer.zero_grad()
                    # The optimizer made a step only where the gradients were complete.
                    if accelerator.sync_gradients:
                        run.step(n_samples=len(batch))
                    else:
                        run.add(n_samples=len(batch))
            with run.phase("checkpoint"):
                accelerator.save_state(str(CHECKPOINT))
            accelerator.print(f"epoch {epoch}: joules {run.energy_joules() or 'unknown'}")


if __name__ == "__main__":
    main()
