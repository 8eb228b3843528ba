"""What a pipeline does with disagreement: from its configuration, its code, or its logs."""
