"""PyTorch Lightning: joules per step in Prometheus, in the loggers and in checkpoints.

    python lightning_fit.py

Written with ``import pytorch_lightning as pl`` the same callback does.
"""

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from joulestat.lightning import JoulestatCallback


class Line(pl.LightningModule):
    """A linear model."""

    def __init__(self) -> None:
        """Make the one layer."""
        super().__init__()
        self.layer = nn.Linear(8, 1)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Return the error on a batch."""
        loss = nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Log the error on a batch."""
        self.log("error", nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main() -> None:
    """Fit a line."""
    torch.manual_seed(0)
    inputs = torch.randn(640, 8)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(dim=1, keepdim=True)), batch_size=32)
    trainer = pl.Trainer(
        max_epochs=2,
        accumulate_grad_batches=2,
        log_every_n_steps=5,
        callbacks=[JoulestatCallback(run="lightning-example")],
        enable_progress_bar=False,
    )
    trainer.fit(Line(), loader, loader)
    shown = {name: round(float(value), 4) for name, value in trainer.logged_metrics.items()}
    print(shown)  # with an exporter: energy_joules and energy_joules_per_step among them


if __name__ == "__main__":
    main()
