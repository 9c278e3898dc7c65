"""What devices see and hear, as plain values. Knows no model."""
