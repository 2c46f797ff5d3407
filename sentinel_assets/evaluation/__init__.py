"""How good the analysis is against labels: what was found, missed and made up, in figures, pictures and a gate."""
