"""What a launch script says, through verl's own Hydra configuration."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

import verl.trainer
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo.v1 import PPOTrainerSync, get_trainer_cls
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.dataset.rl_dataset import get_dataset_class

from dissensus.errors import InputError
from dissensus.integrations.verl.estimators import rule_of
from dissensus.integrations.verl.options import Options
from dissensus.integrations.verl.sampling_options import SamplingOptions

CONFIG = str(Path(verl.trainer.__file__).parent / "config")


def composed(*overrides):
    with initialize_config_dir(CONFIG, version_base=None):
        return compose("ppo_trainer", overrides=list(overrides))


def test_the_fragment_in_verls_configuration():
    config = composed(
        "+dissensus=record",
        "trainer.default_local_dir=/checkpoints",
        "algorithm.adv_estimator=dissensus_grpo",
        "+algorithm.dissensus.parameters.ddof=1",
        "algorithm.dissensus.correct=acc",
    )
    assert config.algorithm.norm_adv_by_std_in_grpo is True  # nothing of verl's own is lost
    options = Options.of(config.algorithm)
    assert options.run_dir == "/checkpoints/dissensus"
    assert options.correct == ("acc", 0.5)
    rule = rule_of(config.algorithm.adv_estimator, options)
    assert rule.parameters["ddof"] == 1
    assert issubclass(get_trainer_cls(config.trainer.v1.trainer_mode), PPOTrainerSync)


def test_the_fragments_compose_with_each_other():
    config = composed("+dissensus=[record,replace]", "data.dataloader_num_workers=3")
    assert config.trainer.v1.trainer_mode == "dissensus_sync"
    assert config.trainer.v1.sampler.custom_sampler.name == "replay_buffer"
    assert (config.data.gen_batch_size, config.data.dataloader_num_workers) == (1, 3)
    assert SamplingOptions.of(config.trainer.v1.sampler.sampler_kwargs) == SamplingOptions()

    allocated = composed(
        "+dissensus=allocate",
        "actor_rollout_ref.rollout.n=8",
        "algorithm.adv_estimator=dissensus_grpo",
        "trainer.v1.sampler.sampler_kwargs.allocator='contrast(least=4)'",
        "+trainer.v1.sampler.sampler_kwargs.most_batches=3",
    )
    options = SamplingOptions.of(allocated.trainer.v1.sampler.sampler_kwargs)
    assert (str(options.allocator), options.group_size) == ("contrast(least=4)", 8)
    assert (options.estimator, options.most_batches) == ("dissensus_grpo", 3)
    assert get_dataset_class(allocated.data).__name__ == "AllocatedRows"
    assert allocated.trainer.v1.trainer_mode == "sync"


def test_an_allocator_that_is_not_named_is_asked_for():
    config = composed("+dissensus=allocate")
    with pytest.raises(InputError, match=r"sampler_kwargs.allocator.*contrast\(least=4\)"):
        SamplingOptions.of(config.trainer.v1.sampler.sampler_kwargs)


def test_the_launch_script_of_the_page_configures_what_it_says():
    page = (Path(__file__).parents[2] / "docs" / "verl.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    config = composed(*shlex.split(script.replace("\\\n", " ").replace("…", ""))[3:])
    options = Options.of(config.algorithm)
    assert options.correct == ("acc", 0.5)
    assert str(options.run_dir).endswith("/dissensus")
    assert repr(rule_of(config.algorithm.adv_estimator, options)) == "grpo(ddof=1, eps=1e-06)"


def test_parameters_on_the_command_line_keep_their_types():
    config = composed("+algorithm.dissensus.parameters={ddof: 1, eps: 1e-6}")
    rule = rule_of("dissensus_grpo", Options.of(config.algorithm))
    assert repr(rule) == "grpo(ddof=1, eps=1e-06)"


def test_the_node_survives_as_a_mapping_and_not_in_verls_dataclass():
    """verl hands the mapping on; its dataclass has fixed fields, so it cannot carry the node."""
    config = composed("+algorithm.dissensus.parameters.ddof=1")
    assert Options.of(OmegaConf.to_container(config.algorithm)).parameters == {"ddof": 1}
    with pytest.raises(ConfigKeyError, match="dissensus"):
        omega_conf_to_dataclass(config.algorithm, AlgoConfig)
    assert Options.of(AlgoConfig()) == Options()
