"""IP-LAP (Zhong et al., CVPR 2023; arXiv 2305.08293)."""
