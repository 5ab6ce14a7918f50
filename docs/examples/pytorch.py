"""Plain PyTorch: joules per step in Prometheus with four lines of joulestat.

Alone:                python pytorch.py
One process per GPU:  torchrun --nproc-per-node 8 pytorch.py
"""

import os
from pathlib import Path

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import joulestat

EPOCHS = 2
BATCH_SIZE = 32
CHECKPOINT = Path("checkpoint.pt")


def main() -> None:
    """Fit a line, on one process or on several."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    cuda = torch.cuda.is_available()
    if several:
        distributed.init_process_group("nccl" if cuda else "gloo")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else "cpu"
    torch.manual_seed(0)
    inputs = torch.randn(640, 8)
    targets = inputs.sum(dim=1, keepdim=True)
    samples = TensorDataset(inputs, targets)
    sampler = DistributedSampler(samples) if several else None
    loader = DataLoader(samples, BATCH_SIZE, sampler=sampler)
    model: nn.Module = nn.Linear(8, 1).to(device)
    if several:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    # The same on every rank. Its own samples are each rank's; the steps count once.
    with joulestat.init(run="pytorch-example", planned_steps=EPOCHS * len(loader)) as run:
        if CHECKPOINT.exists():
            saved = torch.load(CHECKPOINT)
            model.load_state_dict(saved["model"])
            run.load_state_dict(saved["run"])  # the joules of the model go on
        for epoch in range(EPOCHS):
            with run.phase("train"):
                for batch, wanted in loader:
                    loss = nn.functional.mse_loss(model(batch.to(device)), wanted.to(device))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    run.step(n_samples=len(batch))
            with run.phase("eval"), torch.no_grad():
                left = nn.functional.mse_loss(model(inputs.to(device)), targets.to(device))
            print(f"epoch {epoch}: error {left:.4f}, joules {run.energy_joules() or 'unknown'}")
            with run.phase("checkpoint"):
                if run.rank == 0:
                    state = {"model": model.state_dict(), "run": run.state_dict()}
                    torch.save(state, CHECKPOINT)
    if several:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
