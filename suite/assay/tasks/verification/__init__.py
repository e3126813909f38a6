<<<<<<< HEAD
"""Attention robustness, proved (Munakata et al.)."""
=======
"""Attention and classification robustness, decided exactly over semantic perturbations."""
>>>>>>> verify
