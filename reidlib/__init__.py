"""Person re-identification: data, models, samplers, losses, retrieval and the records of what was run."""

__version__ = "0.1.0"
