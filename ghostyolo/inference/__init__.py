"""What computes a network: torch, or an exported file in the fastest installed runtime."""
