"""How the measures of a track go together over its models: rank correlations, their picture and their page."""
