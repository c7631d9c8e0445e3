"""`lara policies`: several systems, each from data to a policy, on the same goals side by side."""
