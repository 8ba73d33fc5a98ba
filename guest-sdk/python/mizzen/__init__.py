"""Write a scheduler plugin (`mizzen.scheduler`) or an admission policy (`mizzen.policy`) for Mizzen."""
