"""The science of EchoFM Federated: data, models, training, evaluation. Knows nothing of Flower."""

__version__ = "0.1.0"
