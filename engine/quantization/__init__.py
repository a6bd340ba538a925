"""Quantization of model directories: rounding, GPTQ, distillation, mixed precision, V2 files."""
