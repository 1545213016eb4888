"""How fast a network runs on this machine in each installed runtime, and against its roofline."""
