"""Semantic robustness: from which views of a 3-D shape is it recognised, and how large are these views?"""
