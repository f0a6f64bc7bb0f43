"""One trustworthy picture a day of all GGUF models on the Hugging Face Hub."""

__version__ = "0.1.0"
