"""TRL: a GRPO trainer that records disagreement, measures it in TRL's log, and can act on it.

    from dissensus.integrations.trl import DisagreementGRPOTrainer

    trainer = DisagreementGRPOTrainer(…, run_dir="runs/mine")   # the arguments of trl.GRPOTrainer
    trainer.train()

`DisagreementMixin` fits a subclass of your own. Where no subclass is possible, a Recorder's
`wrap_reward` with `RecordingCallback` records through public hooks only.
"""

from __future__ import annotations

from dissensus._optional import require

require("trl", "trl")

from dissensus.integrations.trl.callbacks import RecordingCallback, open_recorder  # noqa: E402
from dissensus.integrations.trl.mixin import DisagreementMixin  # noqa: E402
from dissensus.integrations.trl.trainer import DisagreementGRPOTrainer  # noqa: E402

__all__ = [
    "DisagreementGRPOTrainer",
    "DisagreementMixin",
    "RecordingCallback",
    "open_recorder",
]
