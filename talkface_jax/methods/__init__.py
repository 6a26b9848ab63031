"""The methods: how networks, losses and views are wired."""
