"""What a vehicle's sensors read, and the truth that an annotator is asked for."""
