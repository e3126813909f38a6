"""The nineteen corruptions of Hendrycks and Dietterich (ICLR 2019), written on NumPy, SciPy and Pillow."""
