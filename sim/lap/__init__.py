"""Once round the whole loop: real vehicles of a simulated world, a real fleet service, one report."""
