"""The lab: a real small language model, verifiable tasks, and GRPO training on two CPU cores."""
