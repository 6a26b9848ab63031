"""Sinha, Biswas and Bhowmick, IJCNN 2020 (arXiv 2005.12318)."""
