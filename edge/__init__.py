"""The software of the vehicle: perceive, plan, trigger, record, send, update."""
