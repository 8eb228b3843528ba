"""Allocators compete on recorded counts, at equal rollouts generated.

- `record`: what was recorded of each prompt, visit by visit
- `latent`: solve rates behind it, drawn from a posterior
- `world`: rollouts for whoever asks, the same for all who ask alike
- `oracle`: the ceiling
- `play`: one allocator against one world; what came of it
- `entries`: allocators as they are written on a command line
- `run`: the competition
"""
