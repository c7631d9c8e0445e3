"""What things cost, measured against what people use today."""
