"""mien: experiments in multimodal emotion recognition, from a laptop to a cluster."""

__version__ = "0.1.0"
