"""What runs in the vehicle: perceive, plan, notice, record, send, update."""
