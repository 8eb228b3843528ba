"""How solve rates are spread over the groups of a run, and what other settings would give on them.

- `counts`: how many groups had k of n correct, compressed, by hand of prompts
- `npmle`, `beta_mixture`, `estimate`: the distribution behind them, chosen on held-out prompts
- `population`: that distribution, and the laws averaged over it
- `compatible`, `interior`: intervals over every distribution that the counts allow
- `drift`: where the counts of a run in progress are going
- `sizes`, `skipping`, `predictions`: group sizes, skipped prompts, rules and filters on it
- `products`: intervals of ratios of averages over it
- `recommendation`: which change gains by both measures
"""
