"""The drop-in trainer."""

from __future__ import annotations

from trl import GRPOTrainer

from dissensus.integrations.trl.mixin import DisagreementMixin

__all__ = ["DisagreementGRPOTrainer"]


class DisagreementGRPOTrainer(DisagreementMixin, GRPOTrainer):  # type: ignore[misc]
    """`trl.GRPOTrainer` that records disagreement and can act on it.

    Takes every argument of `trl.GRPOTrainer` and the keyword arguments of `DisagreementMixin`.

        from dissensus.integrations.trl import DisagreementGRPOTrainer
        trainer = DisagreementGRPOTrainer(
            model=…, reward_funcs=…, args=…, train_dataset=…,
            run_dir="runs/mine", estimator="dr_grpo", silent="mask",
        )
        trainer.train()
    """
