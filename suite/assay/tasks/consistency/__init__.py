"""Neuron consistency on real and on adversarial images (Dong et al.)."""
