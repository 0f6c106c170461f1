"""How the shipped models are made: rendered clusters, fine-tuning, export, evaluation."""
