"""The only thing vehicle and fleet share: records, axes, units and the wire; numpy and msgspec alone."""
