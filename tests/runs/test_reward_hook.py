"""Recording from inside reward functions: what several processes owe each other."""

from dissensus.runs import Recorder, Run
from dissensus.runs.reward_hook import hook_of


def score(recorder, prompts, completions, **columns):
    reward = recorder.wrap_reward(lambda prompts, completions, **_: [1.0, 0.0])
    hook = hook_of(recorder)
    hook.waits = True
    assert reward(prompts=prompts, completions=completions, **columns) == [1.0, 0.0]
    return hook


def test_a_process_that_fails_still_answers_the_others(tmp_path, caplog):
    sent = []
    with Recorder(tmp_path) as recorder:
        # The second prompt has no answer: this process cannot tell its rows.
        hook = score(recorder, ["1+1=", "1+1="], ["2", "3"], answer=["2"])
        hook.gather = lambda mine: sent.append(mine) or [mine]
        hook.commit("train")
    assert len(sent) == 1
    assert "IndexError" in sent[0]["error"]
    assert len(caplog.records) == 1
    assert Run(tmp_path).groups().num_rows == 0


def test_a_generation_that_another_process_cannot_read_is_not_recorded(tmp_path, caplog):
    with Recorder(tmp_path) as recorder:
        hook = score(recorder, ["1+1=", "1+1="], ["2", "3"])
        hook.gather = lambda mine: [mine, {"error": "IndexError()"}]
        hook.commit("train")
    assert "another process" in caplog.text
    assert Run(tmp_path).groups().num_rows == 0
