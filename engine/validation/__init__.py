"""The precision validator: how far a converted or quantized model is from the one it was made of."""
