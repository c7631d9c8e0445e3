"""What a configuration or policy would cost: parameters, memory, FLOPs, latency."""
